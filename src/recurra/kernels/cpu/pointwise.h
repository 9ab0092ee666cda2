// A cell's equation at every place of some frames, forward and back, on maps that lie channels last: the channels of
// a place are side by side, and places follow each other at a stride, so a gate may be a slice of a larger product.
//
// Products, which convolutions read and write, are in float32 or in bfloat16; states and what is kept in float32.
#pragma once
#include "math.h"
#include "team.h"

typedef uint16_t Brief __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline V widened(Brief brief) {
    const Bits bits = __builtin_convertvector(brief, Bits) << 16;
    V value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

// To the nearest bfloat16, to the even one of two as near; NaN stays NaN.
static inline Brief narrowed(V value) {
    Bits bits;
    value = choose(value == value, value, splat(__builtin_nanf("")));
    __builtin_memcpy(&bits, &value, sizeof bits);
    const I number = value == value;
    Bits whole;
    __builtin_memcpy(&whole, &number, sizeof whole);
    bits += (0x7fff + ((bits >> 16) & 1)) & whole;
    return __builtin_convertvector(bits >> 16, Brief);
}

// The products of a call: what lies at channel `at`, as vectors.
struct Single {
    static inline V get(const void* from, int64_t at, int count) {
        return load(static_cast<const float*>(from) + at, count);
    }
    static inline void put(void* to, int64_t at, V value, int count) {
        store(static_cast<float*>(to) + at, value, count);
    }
};

struct Half16 {
    static inline V get(const void* from, int64_t at, int count) {
        Brief brief = {};
        __builtin_memcpy(&brief, static_cast<const uint16_t*>(from) + at, sizeof(uint16_t) * count);
        return widened(brief);
    }
    static inline void put(void* to, int64_t at, V value, int count) {
        const Brief brief = narrowed(value);
        __builtin_memcpy(static_cast<uint16_t*>(to) + at, &brief, sizeof(uint16_t) * count);
    }
};

template <class Cell>
struct Maps {
    static constexpr int X = Cell::X, U = Cell::E, S = Cell::S, P = Cell::P, KEPT = Cell::KEPT;
    static constexpr int some(int count) { return count ? count : 1; }

    struct Call {
        int64_t frames, places, hidden, threads;
        int64_t half;                        // products are in bfloat16
        int64_t flowing;                     // frames of flow
        int64_t x_stride[some(X)], u_stride[some(U)];  // numbers from one place to the next; of dx and du as well
        const void* x[some(X)];
        const void* u[some(U)];
        const float* s[some(S)];             // (frames, places, H), as all that follows where nothing else is said
        const float* p[some(P)];             // (places, H)
        float* after[some(S)];               // may be s
        void* brief;                         // after[0] as a product, or null
        float* kept;                         // (frames, places, blocks, KEPT, 16), or null
        const float* g[some(S)];             // gradient of after, or null; for after[0] the sum of g, dy and flow
        const float* dy;
        const void* flow;                    // (flowing, places, H), a product
        void* dx[some(X)];                   // or null
        void* du[some(U)];
        float* ds[some(S)];                  // may be g
        float* dp[some(P)];                  // (places, H): the sum over frames is added
    };

    template <class Product>
    static inline void forward_at(const Call& c, int64_t place, int64_t block) {
        const int64_t at = block * LANES, here = place * c.hidden + at, blocks = (c.hidden + LANES - 1) / LANES;
        const int count = c.hidden - at < LANES ? static_cast<int>(c.hidden - at) : LANES;
        V x[some(X)], u[some(U)], s[some(S)], p[some(P)], after[some(S)], kept[some(KEPT)];
        for (int i = 0; i < X; i++) x[i] = Product::get(c.x[i], place * c.x_stride[i] + at, count);
        for (int i = 0; i < U; i++) u[i] = Product::get(c.u[i], place * c.u_stride[i] + at, count);
        for (int i = 0; i < S; i++) s[i] = load(c.s[i] + here, count);
        for (int i = 0; i < P; i++) p[i] = load(c.p[i] + place % c.places * c.hidden + at, count);
        Cell::forward(x, u, s, p, after, kept);
        for (int i = 0; i < S; i++) store(c.after[i] + here, after[i], count);
        if (c.brief) Product::put(c.brief, here, after[0], count);
        float* to = c.kept + (place * blocks + block) * KEPT * LANES;
        if (c.kept) for (int i = 0; i < KEPT; i++) store(to + i * LANES, kept[i]);
    }

    template <class Product>
    static inline void backward_at(const Call& c, int64_t place, int64_t block) {
        const int64_t at = block * LANES, here = place * c.hidden + at, blocks = (c.hidden + LANES - 1) / LANES;
        const int count = c.hidden - at < LANES ? static_cast<int>(c.hidden - at) : LANES;
        V k[some(KEPT)], s[some(S)], p[some(P)], g[some(S)];
        V dx[some(X)], du[some(U)], ds[some(S)], dp[some(P)];
        const float* from = c.kept + (place * blocks + block) * KEPT * LANES;
        for (int i = 0; i < KEPT; i++) k[i] = load(from + i * LANES);
        for (int i = 0; i < S; i++) s[i] = load(c.s[i] + here, count);
        for (int i = 0; i < P; i++) p[i] = load(c.p[i] + place % c.places * c.hidden + at, count);
        for (int i = 0; i < S; i++) g[i] = c.g[i] ? load(c.g[i] + here, count) : V{};
        if (c.dy) g[0] += load(c.dy + here, count);
        if (place < c.flowing * c.places) g[0] += Product::get(c.flow, here, count);
        Cell::backward(k, s, p, g, dx, du, ds, dp);
        for (int i = 0; i < X; i++) if (c.dx[i]) Product::put(c.dx[i], place * c.x_stride[i] + at, dx[i], count);
        for (int i = 0; i < U; i++) if (c.du[i]) Product::put(c.du[i], place * c.u_stride[i] + at, du[i], count);
        for (int i = 0; i < S; i++) if (c.ds[i]) store(c.ds[i] + here, ds[i], count);
        for (int i = 0; i < P; i++) {
            float* sum = c.dp[i] + place % c.places * c.hidden + at;
            store(sum, load(sum, count) + dp[i], count);
        }
    }

    // Threads share the places of a frame where vectors have gradients to add up, else the places of all frames.
    template <class F>
    static inline void each_place(const Call& c, const F& f) {
        const int64_t all = c.frames * c.places, span = P ? c.places : all, blocks = (c.hidden + LANES - 1) / LANES;
        together(static_cast<int>(c.threads), [&](int index, int size) {
            const int64_t from = span * index / size, to = span * (index + 1) / size;
            for (int64_t begin = 0; begin < all; begin += span)
                for (int64_t place = begin + from; place < begin + to; place++)
                    for (int64_t block = 0; block < blocks; block++) f(place, block);
        });
    }

    static void forward(const Call& c) {
        if (c.half) each_place(c, [&](int64_t place, int64_t block) { forward_at<Half16>(c, place, block); });
        else each_place(c, [&](int64_t place, int64_t block) { forward_at<Single>(c, place, block); });
    }
    static void backward(const Call& c) {
        if (c.half) each_place(c, [&](int64_t place, int64_t block) { backward_at<Half16>(c, place, block); });
        else each_place(c, [&](int64_t place, int64_t block) { backward_at<Single>(c, place, block); });
    }
};
