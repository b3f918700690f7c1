/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Messages are read by libc's parser (ns_initparse, ns_parserr); a query must have
 * exactly one question. A, AAAA and PTR questions about names and addresses that the tenant's ports have are
 * answered with authority and a short time to live; other types of such names get an empty answer, so that
 * nothing about a private name goes to the network. Everything else is the forwarder's.
 *
 * Answers repeat the question and point at its name (offset 12), so they need no name compression of their
 * own but for PTR, whose target is written out.
 */
#include "dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include "datagram.h"

#define TTL_S          30u
#define HEADER_SIZE    12u
#define FLAG_TRUNCATED 0x02u
#define FLAG_RECURSION 0x01u /* desired, byte 2 */

struct question {
    char name[DNS_NAME_SIZE]; /* lower case, no final dot; "" is the root */
    unsigned type;
    size_t end; /* bytes of header and question */
};

static bool read_question(const uint8_t *message, size_t size, struct question *question)
{
    ns_msg handle;
    ns_rr record;
    if (size < HEADER_SIZE || size > UINT16_MAX || ns_initparse(message, (int)size, &handle) ||
        ns_msg_count(handle, ns_s_qd) != 1 || ns_parserr(&handle, ns_s_qd, 0, &record) ||
        ns_rr_class(record) != ns_c_in)
        return false;
    int name_size = dn_skipname(message + HEADER_SIZE, message + size);
    if (name_size < 0 || HEADER_SIZE + (size_t)name_size + 4 > size)
        return false;
    question->end = HEADER_SIZE + (size_t)name_size + 4;
    question->type = ns_rr_type(record);
    const char *text = ns_rr_name(record);
    size_t length = strnlen(text, sizeof(question->name) - 1);
    for (size_t i = 0; i < length; i++)
        question->name[i] = (char)tolower((unsigned char)text[i]);
    while (length > 0 && question->name[length - 1] == '.')
        length--;
    question->name[length] = '\0';
    return true;
}

static bool is_query(const uint8_t *query, size_t size)
{
    return size >= HEADER_SIZE && (query[2] & 0xf8) == 0; /* QR 0, opcode QUERY */
}

static size_t start_answer(const uint8_t *query, const struct question *question, unsigned rcode,
                           uint8_t *answer)
{
    memcpy(answer, query, question->end);
    answer[2] = (uint8_t)(0x84 | (query[2] & FLAG_RECURSION)); /* response, authoritative */
    answer[3] = (uint8_t)(0x80 | rcode);                       /* recursion available */
    memset(answer + 4, 0, 8);
    answer[5] = 1; /* QDCOUNT */
    return question->end;
}

size_t dns_refuse(const uint8_t *query, size_t size, unsigned rcode, bool truncated, uint8_t *answer)
{
    struct question question;
    if (!is_query(query, size) || !read_question(query, size, &question))
        return 0;
    size = start_answer(query, &question, rcode, answer);
    answer[2] &= (uint8_t)~0x04; /* not authoritative */
    if (truncated)
        answer[2] |= FLAG_TRUNCATED;
    return size;
}

/* Appends a record whose name is the question's. */
static size_t add_record(uint8_t *answer, size_t size, unsigned type, const void *data, size_t data_size)
{
    if (size + 12 + data_size > DNS_MESSAGE_MAX)
        return size;
    uint8_t *at = answer + size;
    const uint8_t head[12] = {
        0xc0, HEADER_SIZE, (uint8_t)(type >> 8),      (uint8_t)type,     0, ns_c_in, 0, 0,
        0,    TTL_S,       (uint8_t)(data_size >> 8), (uint8_t)data_size};
    memcpy(at, head, sizeof(head));
    memcpy(at + sizeof(head), data, data_size);
    answer[7]++; /* ANCOUNT */
    return size + sizeof(head) + data_size;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 1035 3.5, RFC 3596 2.5: 1.0.0.10.in-addr.arpa, nibbles under ip6.arpa. */
static bool reverse_address(const char *name, uint8_t address[16])
{
    unsigned a, b, c, d;
    int end = 0;
    size_t length = strlen(name);
    /* NOLINTNEXTLINE(cert-err34-c): four numbers of at most three digits, compared with 255 */
    if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &a, &b, &c, &d, &end) == 4 && end > 0 &&
        (size_t)end == length && a < 256 && b < 256 && c < 256 && d < 256) {
        address_map(address, (const uint8_t[4]){(uint8_t)d, (uint8_t)c, (uint8_t)b, (uint8_t)a});
        return true;
    }
    if (length != 64 + strlen("ip6.arpa") || strcmp(name + 64, "ip6.arpa") != 0)
        return false;
    for (unsigned i = 0; i < 32; i++) {
        int digit = hex_digit(name[2 * i]);
        if (digit < 0 || name[2 * i + 1] != '.')
            return false;
        uint8_t *byte = &address[15 - i / 2];
        *byte = (uint8_t)(i % 2 ? *byte | digit << 4 : digit);
    }
    return true;
}

static enum dns_verdict answer_name(const struct dns_names *names, uint32_t port, const uint8_t *query,
                                    const struct question *question, uint8_t *answer, size_t *answer_size)
{
    uint8_t addresses[DNS_ADDRESSES_MAX][16];
    bool ipv6 = question->type == ns_t_aaaa;
    int count = names->addresses(names->context, port, question->name, ipv6, addresses, DNS_ADDRESSES_MAX);
    if (count == -1)
        return DNS_FORWARD;
    size_t size = start_answer(query, question, count == -2 ? ns_r_nxdomain : ns_r_noerror, answer);
    if (question->type == ns_t_a || ipv6)
        for (int i = 0; i < count; i++)
            size = add_record(answer, size, question->type, addresses[i] + (ipv6 ? 0 : 12), ipv6 ? 16 : 4);
    *answer_size = size;
    return DNS_ANSWER;
}

static enum dns_verdict answer_reverse(const struct dns_names *names, uint32_t port, const uint8_t *query,
                                       const struct question *question, uint8_t *answer, size_t *answer_size)
{
    uint8_t address[16], target[DNS_NAME_SIZE];
    char name[DNS_NAME_SIZE];
    if (!reverse_address(question->name, address) ||
        !names->name(names->context, port, address, name, sizeof(name)))
        return DNS_FORWARD;
    int target_size = dn_comp(name, target, sizeof(target), NULL, NULL);
    if (target_size < 0)
        return DNS_FORWARD;
    *answer_size = add_record(answer, start_answer(query, question, ns_r_noerror, answer), ns_t_ptr, target,
                              (size_t)target_size);
    return DNS_ANSWER;
}

enum dns_verdict dns_query(const struct dns_names *names, uint32_t port, const uint8_t *query, size_t size,
                           uint8_t *answer, size_t *answer_size)
{
    struct question question;
    if (!is_query(query, size) || !read_question(query, size, &question))
        return DNS_IGNORE;
    if (question.type == ns_t_ptr)
        return answer_reverse(names, port, query, &question, answer, answer_size);
    return answer_name(names, port, query, &question, answer, answer_size);
}

bool dns_matches(const uint8_t *query, size_t query_size, const uint8_t *answer, size_t answer_size)
{
    struct question asked, answered;
    return answer_size >= HEADER_SIZE && (answer[2] & 0x80) && memcmp(query, answer, 2) == 0 &&
           read_question(query, query_size, &asked) && read_question(answer, answer_size, &answered) &&
           asked.type == answered.type && strcmp(asked.name, answered.name) == 0;
}
