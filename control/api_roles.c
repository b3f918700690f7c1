/* SPDX-License-Identifier: BSD-3-Clause */
#include "api_roles.h"

#include <grp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "acl.h"
#include "log.h"
#include "weft_api.h"

#define GROUPS_MAX 256

static gid_t group_id(const char *name)
{
    struct group *group = getgrnam(name);
    return group ? group->gr_gid : (gid_t)-1;
}

void api_groups_find(struct api_groups *groups)
{
    groups->admin = group_id(WEFT_GROUP_ADMIN);
    groups->read = group_id(WEFT_GROUP_READ);
}

void api_groups_admit_readers(const struct api_groups *groups, const char *socket_path, const char *run_dir)
{
    if (groups->read == (gid_t)-1 || geteuid() != 0)
        return;
    int error = acl_allow_group(socket_path, groups->read, 6);
    if (!error)
        error = acl_allow_group(run_dir, groups->read, 1);
    if (error)
        log_notice("group " WEFT_GROUP_READ " cannot reach %s: %s", socket_path, strerror(-error));
}

static bool has_group(const struct ucred *peer, const gid_t *groups, size_t count, gid_t wanted)
{
    if (wanted == (gid_t)-1)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (groups[i] == wanted)
            return true;
    }
    return peer->gid == wanted;
}

struct api_role api_role_of_peer(const struct api_groups *groups, int fd)
{
    struct ucred peer;
    gid_t own[GROUPS_MAX];
    socklen_t size = sizeof(peer), own_size = sizeof(own);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return (struct api_role){.uid = (uid_t)-1};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, own, &own_size) < 0)
        own_size = 0;
    size_t count = own_size / sizeof(own[0]);
    struct api_role role = {.uid = peer.uid};
    role.admin = peer.uid == 0 || peer.uid == geteuid() || has_group(&peer, own, count, groups->admin);
    role.read = role.admin || has_group(&peer, own, count, groups->read);
    return role;
}
