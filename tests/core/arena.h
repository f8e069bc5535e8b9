/* Memory between two pages that nobody may touch: a byte too far on either side ends the program. */
#ifndef ARENA_H
#define ARENA_H

#include "check.h"

#include <sys/mman.h>
#include <unistd.h>

struct arena {
    char *at;
    size_t size;
};

static inline struct arena new_arena(size_t pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = pages * page;
    char *map = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK_EQ(mprotect(map + page, size, PROT_READ | PROT_WRITE), 0);
    return (struct arena){map + page, size};
}

static inline void free_arena(struct arena arena)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(arena.at - page, arena.size + 2 * page);
}

#endif
