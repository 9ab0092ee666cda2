// A few threads that run one function together, and the place where they wait for each other.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

static inline int64_t nanoseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline void rest() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A thread that waits spins first, then gives its core away. If the others do not come for much longer than their
// work takes, the cores are busy with something else (or two threads of the team have been put on one), and from then
// on the members of the team should part: `parting` is decided by the last to arrive, so that all of them see the
// same after a meeting.
struct Meeting {
    static constexpr int64_t WAKING = 60000, PATIENCE = 300000, SHORT = 1000000, LONG = 300000000;  // nanoseconds
    int64_t work;  // nanoseconds that a member needs between two meetings, rather more than less
    int arrived = 0, round = 0;
    bool late = false, parting = false;

    void wait(int size) {
        if (size == 1) return;
        const int mine = __atomic_load_n(&round, __ATOMIC_RELAXED);
        if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == size) {
            arrived = 0;
            if (__atomic_load_n(&late, __ATOMIC_RELAXED) && !parting) {
                parting = true;
                note_busy();
            }
            __atomic_store_n(&round, mine + 1, __ATOMIC_RELEASE);
            return;
        }
        const int64_t patience = (mine ? PATIENCE : WAKING) + 4 * work;
        int64_t since = 0;
        for (int turn = 0; __atomic_load_n(&round, __ATOMIC_ACQUIRE) == mine; turn++) {
            if (turn < 400) { rest(); continue; }
            sched_yield();
            if (!since) since = nanoseconds();
            else if (nanoseconds() - since > patience) __atomic_store_n(&late, true, __ATOMIC_RELAXED);
        }
    }

    // One late meeting may be chance, such as an interrupt or a page that was touched for the first time: work is done
    // alone for a moment. Each time that it is late again soon after, for four times as long.
    static void note_busy() {
        const int64_t now = nanoseconds(), span = __atomic_load_n(busy(1), __ATOMIC_RELAXED);
        const bool again = now - __atomic_load_n(busy(0), __ATOMIC_RELAXED) < LONG;
        const int64_t next = !again ? SHORT : 4 * span < LONG ? 4 * span : LONG;
        __atomic_store_n(busy(1), next, __ATOMIC_RELAXED);
        __atomic_store_n(busy(0), now + next, __ATOMIC_RELAXED);
    }

    // Whether a team found its cores busy a moment ago.
    static bool were_busy() { return nanoseconds() < __atomic_load_n(busy(0), __ATOMIC_RELAXED); }

    // Until when cores are taken for busy, and for how long that was decided.
    static int64_t* busy(int which) {
        static int64_t moments[2] = {0, 0};
        return &moments[which];
    }
};

// The OpenMP functions of the library that torch has loaded. Its threads wait for work by spinning, so threads of our
// own would have to fight them for the cores.
struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned);
    int (*index)();
    int (*size)();
};

static OpenMP openmp = {nullptr, nullptr, nullptr};

extern "C" void use_openmp(void* parallel, void* index, void* size) {
    openmp = {reinterpret_cast<decltype(openmp.parallel)>(parallel), reinterpret_cast<decltype(openmp.index)>(index),
              reinterpret_cast<decltype(openmp.size)>(size)};
}

// Runs work(i, n) for i = 0 .. n - 1 at the same time; n is `count`, or less where the system gives no more threads.
template <class Work>
struct Team {
    const Work* work;
    const int* size;
    int index;

    static void enter(void* work) { (*static_cast<const Work*>(work))(openmp.index(), openmp.size()); }

    static void* start(void* self) {
        const Team* member = static_cast<Team*>(self);
        while (!__atomic_load_n(member->size, __ATOMIC_ACQUIRE)) rest();
        (*member->work)(member->index, *member->size);
        return nullptr;
    }

    static void threads(int count, const Work& work) {
        constexpr int MOST = 64;
        pthread_t threads[MOST];
        Team members[MOST];
        int size = 0, started = 1;
        for (; started < count && started < MOST; started++) {
            members[started] = {&work, &size, started};
            if (pthread_create(&threads[started], nullptr, start, &members[started])) break;
        }
        __atomic_store_n(&size, started, __ATOMIC_RELEASE);
        work(0, started);
        for (int i = 1; i < started; i++) pthread_join(threads[i], nullptr);
    }
};

template <class Work>
static inline void together(int count, const Work& work) {
    if (count <= 1) work(0, 1);
    else if (openmp.parallel) openmp.parallel(Team<Work>::enter, const_cast<Work*>(&work), count, 0);
    else Team<Work>::threads(count, work);
}
