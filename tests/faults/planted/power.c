/* Keeps, beside every file, what of it would survive a power cut: what it held at its last fsync.

   Preloaded into a process whose files are to lose power. POWER_FROM is the folder that counts,
   POWER_TO the folder into which a file is copied, under its own name, whenever it is synced. The
   cut itself is a kill -9, after which the copies take the place of the files. That a file was
   removed is durable with the next sync of any other, as on file systems with one journal. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void copy(const char *from, const char *to)
{
    char part[PATH_MAX], buffer[1 << 16];
    ssize_t size;
    int in = open(from, O_RDONLY | O_CLOEXEC), out;

    snprintf(part, sizeof part, "%s.part", to);
    out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (in < 0 || out < 0)
        abort();
    while ((size = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, size) != size)
            abort();
    if (size < 0 || close(in) || close(out) || rename(part, to))
        abort();
}

static void forget_removed(const char *from, const char *to)
{
    DIR *kept = opendir(to);
    struct dirent *entry;
    char path[PATH_MAX];

    if (kept == NULL)
        abort();
    while ((entry = readdir(kept)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", from, entry->d_name);
        if (entry->d_name[0] == '.' || access(path, F_OK) == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", to, entry->d_name);
        if (unlink(path))
            abort();
    }
    closedir(kept);
}

static void survives(int file)
{
    const char *from = getenv("POWER_FROM"), *to = getenv("POWER_TO");
    char link[64], path[PATH_MAX], kept[PATH_MAX];
    ssize_t length;

    if (from == NULL || to == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    if (strncmp(path, from, strlen(from)) != 0 || path[strlen(from)] != '/')
        return;
    if (strchr(path + strlen(from) + 1, '/') != NULL)
        return;
    snprintf(kept, sizeof kept, "%s/%s", to, path + strlen(from) + 1);
    pthread_mutex_lock(&one_at_a_time);
    copy(path, kept);
    forget_removed(from, to);
    pthread_mutex_unlock(&one_at_a_time);
}

static int synced(const char *name, int file)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(file);

    if (result == 0)
        survives(file);
    return result;
}

int fsync(int file) { return synced("fsync", file); }

int fdatasync(int file) { return synced("fdatasync", file); }
