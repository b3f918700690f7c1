/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "acl.h"

#define ENTRY_COUNT 5

struct acl {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[ENTRY_COUNT];
};

static struct posix_acl_xattr_entry entry(unsigned tag, unsigned permissions, uint32_t id)
{
    return (struct posix_acl_xattr_entry){
        .e_tag = htole16((uint16_t)tag), .e_perm = htole16((uint16_t)(permissions & 7)), .e_id = htole32(id)};
}

int acl_allow_group(const char *path, gid_t group, unsigned permissions)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return -errno;
    unsigned mode = status.st_mode & 0777, own = mode >> 3 & 7;
    struct acl acl = {
        .header.a_version = htole32(POSIX_ACL_XATTR_VERSION),
        .entries =
            {
                entry(ACL_USER_OBJ, mode >> 6, (uint32_t)ACL_UNDEFINED_ID),
                entry(ACL_GROUP_OBJ, own, (uint32_t)ACL_UNDEFINED_ID),
                entry(ACL_GROUP, own & permissions, group),
                entry(ACL_MASK, own, (uint32_t)ACL_UNDEFINED_ID),
                entry(ACL_OTHER, mode, (uint32_t)ACL_UNDEFINED_ID),
            },
    };
    return setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}
