// What the ways through a conditional random field share: the call, the weights as tables, vectors of tags, sums.
#pragma once
#include "lanes.h"
#include "product.h"
#include "team.h"

constexpr int MOST = 32;        // vectors of a row of tags
constexpr int TOGETHER = 4;     // rows
constexpr float FEW = 1e-28f;   // a sum below this may lack what was lost; K e^-87 is nothing beside it
constexpr float RARE = 1e-18f;  // the same for the pairs of a step

struct Call {
    int64_t rows, steps, kinds, threads;
    int64_t kept;               // steps of `ahead` that there is room for: all, or the last two
    int64_t chunks;             // parts of the rows whose sums are kept apart
    const int64_t* lengths;     // (rows,) or null
    const int64_t* order;       // (rows,): longest first, or null
    const float* scores;        // (rows, steps, kinds)
    const float* transitions;   // (kinds, kinds), from the row to the column
    const float* begins;        // (kinds,)
    const float* ends;
    const int64_t* tags;        // (rows, steps) or null
    float* tables;              // `Tables`, which the way forward fills
    float* ahead;               // (rows, kept, wide)
    float* nats;                // (rows,)
    const float* flow;          // (rows,): the gradients of nats, or null
    float* slopes;              // (rows, steps, kinds): gradients of the scores; without `flow` marginals
    float* behind;              // (rows, steps, kinds) or null
    float* sums;                // (chunks, 2 kinds + 2, wide) of zeros, or null
    float* dtransitions;        // (kinds, kinds)
    float* dbegins;
    float* dends;
    int64_t* path;              // (rows, steps)

    int width() const { return static_cast<int>((kinds + LANES - 1) / LANES); }
    int64_t wide() const { return width() * LANES; }
    int64_t length(int64_t row) const { return lengths ? lengths[row] : steps; }
    int64_t place(int64_t row, int64_t t) const { return (row * steps + t) * kinds; }
    bool is_tag(int64_t tag) const { return 0 <= tag && tag < kinds; }
    float* at(int64_t row, int64_t t) const { return ahead + (row * kept + (kept < steps ? t & 1 : t)) * wide(); }
};

// Weights, filled up to whole vectors by what forbids.
struct Tables {
    const Call& c;
    const int width;
    const int64_t wide;
    float *const likely, *const likely_back;        // exp(transitions - top), and transposed
    float *const transitions, *const transposed;
    float *const begins, *const ends, *const top;

    explicit Tables(const Call& call)
        : c(call), width(call.width()), wide(call.wide()), likely(call.tables), likely_back(likely + call.kinds * wide),
          transitions(likely_back + call.kinds * wide), transposed(transitions + call.kinds * wide),
          begins(transposed + call.kinds * wide), ends(begins + wide), top(ends + wide) {}

    void fill() const {
        const int64_t n = c.kinds;
        for (int64_t i = 0; i < n * wide; i++) transitions[i] = transposed[i] = NEVER;
        for (int64_t i = 0; i < wide; i++) begins[i] = i < n ? c.begins[i] : NEVER, ends[i] = i < n ? c.ends[i] : NEVER;
        *top = NEVER;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                const float value = c.transitions[i * n + j];
                transitions[i * wide + j] = transposed[j * wide + i] = value;
                if (value > *top) *top = value;
            }
        if (*top == NEVER) *top = 0;
        for (int64_t i = 0; i < n * wide; i += LANES) {
            store(likely + i, exponential(load(transitions + i) - *top));
            store(likely_back + i, exponential(load(transposed + i) - *top));
        }
    }
};

// Vectors of tags. The last one may be filled up by lanes that are no tags.
struct Row {
    const Call& c;
    const int width, left;  // tags in the last vector

    explicit Row(const Call& call)
        : c(call), width(call.width()), left(static_cast<int>(call.kinds - (call.width() - 1) * LANES)) {}

    I tags(int w) const { return counted(w + 1 < width ? LANES : left); }

    // The scores of a step less their largest; returns that.
    float read(int64_t row, int64_t t, V* to) const {
        const float* from = c.scores + c.place(row, t);
        const float* end = c.scores + c.rows * c.steps * c.kinds;
        V top = splat(NEVER);
        for (int w = 0; w < width; w++, from += LANES) {
            const V value = from + LANES <= end ? load(from) : load(from, w + 1 < width ? LANES : left);
            to[w] = choose(tags(w), value, splat(NEVER));
            top = larger(to[w], top);
        }
        const float taken = finite(largest(top));
        for (int w = 0; w < width; w++) to[w] -= taken;
        return taken;
    }

    // Steps are written from the last to the first, so what stands behind this one in its row is kept as it is.
    void write(float* base, int64_t row, int64_t t, const V* values) const {
        float* to = base + c.place(row, t);
        const float* end = base + (row + 1) * c.steps * c.kinds;
        for (int w = 0; w < width; w++, to += LANES) {
            if (w + 1 < width || left == LANES) store(to, values[w]);
            else if (to + LANES <= end) store(to, choose(tags(w), values[w], load(to)));
            else for (int lane = 0; lane < left; lane++) to[lane] = values[w][lane];
        }
    }

    void blank(float* base, int64_t row, int64_t from) const {
        __builtin_memset(base + c.place(row, from), 0, sizeof(float) * (c.steps - from) * c.kinds);
    }
};

// log of the sum of exp(a + b).
static inline double log_sum(const float* a, const float* b, int width) {
    V top = splat(NEVER), total = {};
    for (int w = 0; w < width; w++) {
        top = larger(load(a + w * LANES) + load(b + w * LANES), top);
        total += load(a + w * LANES) + load(b + w * LANES);
    }
    const float most = largest(top);
    if (most == NEVER) return sum(total);  // -inf, or NaN
    total = V{};
    for (int w = 0; w < width; w++) total += exponential(load(a + w * LANES) + load(b + w * LANES) - most);
    return most + __builtin_log(sum(total));
}

// out (R, width) = p (R, wide) times a table (kinds, wide).
template <int R>
static inline void times(const float* p, const float* table, const Tables& tables, V* out) {
    const int width = tables.width;
    const int64_t wide = tables.wide, kinds = tables.c.kinds;
    const auto a = [&](int r, int64_t k) { return p[r * wide + k]; };
    int w = 0;
    for (; w + 4 <= width; w += 4) product<R, 4, R == 1 ? 2 : 1>(a, table + w * LANES, width, kinds, out + w);
    for (; w + 2 <= width; w += 2) product<R, 2, R == 1 ? 4 : 1>(a, table + w * LANES, width, kinds, out + w);
    if (w < width) product<R, 1, R == 1 ? 4 : 2>(a, table + w * LANES, width, kinds, out + w);
}

// out (R, width): the largest of h (R, wide) plus the transitions.
template <int R, int C>
static inline void best(const float* h, const float* table, int width, int64_t wide, int64_t kinds, V* out) {
    V top[R][C];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int w = 0; w < C; w++) top[r][w] = splat(NEVER);
    for (int64_t k = 0; k < kinds; k++)
        UNROLL for (int w = 0; w < C; w++) {
            const V step = load(table + k * wide + w * LANES);
            UNROLL for (int r = 0; r < R; r++) top[r][w] = larger(step + h[r * wide + k], top[r][w]);
        }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int w = 0; w < C; w++) out[r * width + w] = top[r][w];
}

// Sums become logarithms: those that may lack something are taken anew from `from` (wide,), logarithms themselves, and
// the row of `table` that belongs to them.
static inline void logarithms(V* sums, const float* from, const float* table, const Tables& tables, const Row& row) {
    V logs[MOST];
    bool lost = false;
    for (int w = 0; w < tables.width; w++) {
        lost |= any((sums[w] < FEW) & row.tags(w));
        logs[w] = logarithm(sums[w]);
    }
    if (lost)
        for (int64_t k = 0; k < tables.c.kinds; k++)
            if (sums[k / LANES][k % LANES] < FEW)
                logs[k / LANES][k % LANES] =
                    static_cast<float>(log_sum(from, table + k * tables.wide, tables.width) - *tables.top);
    for (int w = 0; w < tables.width; w++) sums[w] = logs[w];
}
