/* fw_alloc_*: the seam that the other tests rely on. */
#define _GNU_SOURCE

#include "core/alloc.h"

#include "check.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void live_bytes_are_counted(void)
{
    size_t before = fw_alloc_live();
    char *a = fw_alloc(100), *b = fw_alloc(28);
    CHECK_EQ(fw_alloc_live() - before, 128);
    memset(a, 1, 100);
    fw_free(a, 100);
    CHECK_EQ(fw_alloc_live() - before, 28);
    fw_free(NULL, 1000);
    CHECK_EQ(fw_alloc_live() - before, 28);
    fw_free(b, 28);
}

static void one_allocation_fails_when_told_to(void)
{
    for (long successes = 0; successes < 5; successes++) {
        fw_alloc_fail_after(successes);
        size_t before = fw_alloc_live();
        for (long i = 0; i < 10; i++) {
            void *block = fw_alloc(8);
            CHECK_EQ(block == NULL, i == successes);
            fw_free(block, 8);
        }
        CHECK_EQ(fw_alloc_live(), before); /* what failed is not counted */
    }
    fw_alloc_fail_after(2);
    fw_alloc_fail_after(-1);
    for (int i = 0; i < 5; i++) {
        void *block = fw_alloc(8);
        CHECK(block != NULL);
        fw_free(block, 8);
    }
}

static void allocate(void *block)
{
    fw_free(fw_alloc(8), 8);
    (void)block;
}

static void release(void *block)
{
    fw_free(block, 8);
}

static void nothing(void *block)
{
    (void)block;
}

/* Returns the signal that ended a child which called `act` while allocation was forbidden; 0 if none. */
static int signal_of(void (*act)(void *block))
{
    void *block = fw_alloc(8);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        fw_alloc_forbid(true);
        act(block);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    fw_free(block, 8);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void allocation_under_the_lock_aborts(void)
{
    CHECK_EQ(signal_of(nothing), 0);
    CHECK_EQ(signal_of(allocate), SIGABRT);
    CHECK_EQ(signal_of(release), SIGABRT);
}

int main(void)
{
    RUN(live_bytes_are_counted);
    RUN(one_allocation_fails_when_told_to);
    RUN(allocation_under_the_lock_aborts);
    return 0;
}
