// Linear-chain conditional random fields: forward and backward variables, gradients, posteriors and best paths.
//
// A row's variables are logarithms, lowered at each step so that the largest is 0: p = exp(a) is then at most 1, and a
// step is a product of p with the exponentials of the transitions, sixteen tags a vector. What is below e^-87 of the
// largest is lost in p. That matters only where a sum has next to nothing else in it. Such a sum is taken again over
// the logarithms, so that all scores are legal, and -inf forbids.
//
// Rows are taken four at a time, longest first, so that they read a transition together. A row ends at its length:
// what stands behind it is not read, and becomes zero in what has a place for it.
#include "crf.h"

// Up to four rows on their way forward.
struct Forward {
    const Call& c;
    const Tables tables;
    const Row row;
    const int64_t* rows;
    const int count;
    float p[TOGETHER * MOST * LANES];
    double taken[TOGETHER] = {}, gold[TOGETHER] = {};

    Forward(const Call& call, const int64_t* rows, int count)
        : c(call), tables(call), row(call), rows(rows), count(count) {}

    // The score of this step of the path that was given, without what was taken from all tags.
    double score(int64_t r, int64_t t, float top) const {
        const int64_t* path = c.tags + rows[r] * c.steps + t;
        if (!c.is_tag(*path)) return NEVER;
        const float emitted = c.scores[c.place(rows[r], t) + *path] - top;
        if (!t) return static_cast<double>(emitted) + tables.begins[*path];
        if (!c.is_tag(path[-1])) return NEVER;
        return static_cast<double>(emitted) + tables.transitions[path[-1] * tables.wide + *path];
    }

    template <int R>
    void step(int first, int64_t t) {
        V reached[R * MOST];
        if (t) times<R>(p + first * tables.wide, tables.likely, tables, reached);
        for (int r = first; r < first + R; r++) {
            V* const a = reached + (r - first) * tables.width;
            if (t) logarithms(a, c.at(rows[r], t - 1), tables.transposed, tables, row);
            else for (int w = 0; w < tables.width; w++) a[w] = load(tables.begins + w * LANES);
            V scores[MOST], most = splat(NEVER);
            const float top = row.read(rows[r], t, scores);
            for (int w = 0; w < tables.width; w++) {
                a[w] += scores[w];
                most = larger(a[w], most);
            }
            const float lowered = finite(largest(most));
            float* const to = c.at(rows[r], t);
            for (int w = 0; w < tables.width; w++) {
                a[w] -= lowered;
                store(to + w * LANES, a[w]);
                store(p + r * tables.wide + w * LANES, exponential(a[w]));
            }
            taken[r] += lowered + (t ? static_cast<double>(*tables.top) : 0);
            if (c.tags) gold[r] += score(r, t, top);
        }
    }

    void run() {
        int alive = count;
        for (int64_t t = 0; t < c.length(rows[0]); t++) {
            while (c.length(rows[alive - 1]) <= t) alive--;
            if (alive == TOGETHER) step<TOGETHER>(0, t);
            else for (int r = 0; r < alive; r++) step<1>(r, t);
        }
        if (c.nats) for (int r = 0; r < count; r++) c.nats[rows[r]] = static_cast<float>(finish(r));
    }

    double finish(int r) {
        const int64_t length = c.length(rows[r]);
        if (!length) return 0;
        const int64_t last = c.tags[rows[r] * c.steps + length - 1];
        if (!c.is_tag(last)) return -static_cast<double>(NEVER);
        const double score = gold[r] + tables.ends[last];
        if (score == NEVER) return -score;
        return taken[r] + log_sum(c.at(rows[r], length - 1), tables.ends, tables.width) - score;
    }
};

// Up to four rows on their way back.
struct Backward {
    const Call& c;
    const Tables tables;
    const Row row;
    const int64_t* rows;
    const int count;
    float* const pairs;   // (kinds, wide): sums of exp(a_t) exp(v_{t+1}), to be multiplied by exp(transitions)
    float* const direct;  // (kinds + 2, wide): what is added to the gradients of transitions, begins and ends as it is
    float q[TOGETHER * MOST * LANES], b[TOGETHER * MOST * LANES];

    Backward(const Call& call, const int64_t* rows, int count, float* sums)
        : c(call), tables(call), row(call), rows(rows), count(count), pairs(sums),
          direct(sums ? sums + call.kinds * tables.wide : nullptr) {}

    // From b of step t + 1 to that of step t: v = b + scores, q = exp(v) lowered, b = log(q times the transitions).
    template <int R>
    void step(int first, int64_t t) {
        const int width = tables.width;
        V sums[R * MOST], v[R * MOST];
        for (int r = first; r < first + R; r++) {
            V* const at = v + (r - first) * width;
            V most = splat(NEVER);
            row.read(rows[r], t + 1, at);
            for (int w = 0; w < width; w++) {
                at[w] += load(b + r * tables.wide + w * LANES);
                most = larger(at[w], most);
            }
            const float lowered = finite(largest(most));
            for (int w = 0; w < width; w++) {
                at[w] -= lowered;
                store(q + r * tables.wide + w * LANES, exponential(at[w]));
            }
        }
        times<R>(q + first * tables.wide, tables.likely_back, tables, sums);
        float factors[R * MOST * LANES];
        bool used = false;
        for (int r = first; r < first + R; r++) {
            V* const before = sums + (r - first) * width;
            const float* following = reinterpret_cast<const float*>(v + (r - first) * width);
            float share = 0;
            if (pairs) {
                V p[MOST], total = {};
                for (int w = 0; w < width; w++) {
                    p[w] = exponential(load(c.at(rows[r], t) + w * LANES));
                    total += p[w] * before[w];
                }
                const float whole = sum(total);
                share = whole < RARE ? 0 : c.flow[rows[r]] / whole;
                for (int w = 0; w < width; w++) store(factors + (r - first) * tables.wide + w * LANES, p[w] * share);
                used |= !(whole < RARE);
            }
            logarithms(before, following, tables.transitions, tables, row);
            for (int w = 0; w < width; w++) store(b + r * tables.wide + w * LANES, before[w]);
            if (pairs && share == 0) rare_pairs(r, t, following);
        }
        if (used) add_pairs<R>(factors, q + first * tables.wide);
    }

    template <int R>
    void add_pairs(const float* factors, const float* following) {
        for (int64_t k = 0; k < c.kinds; k++) {
            float* const to = pairs + k * tables.wide;
            for (int64_t w = 0; w < tables.wide; w += LANES) {
                V value = load(to + w);
                UNROLL for (int r = 0; r < R; r++)
                    value += load(following + r * tables.wide + w) * factors[r * tables.wide + k];
                store(to + w, value);
            }
        }
    }

    // The pairs of a step whose likely tags do not go together, one by one, from the best of them on:
    // p = exp(a_i + transition_ij + v_j) by the sum of these.
    void rare_pairs(int r, int64_t t, const float* following) {
        const float *a = c.at(rows[r], t), *after = b + r * tables.wide;
        int64_t best = 0;
        for (int64_t k = 1; k < c.kinds; k++)
            if (a[k] + after[k] > a[best] + after[best]) best = k;
        if (a[best] + after[best] == NEVER || c.flow[rows[r]] == 0) return;
        V total = {};
        const auto pair = [&](int64_t k, int64_t w) {
            const V onward = load(tables.transitions + k * tables.wide + w) + load(following + w);
            return exponential(onward - *tables.top + ((a[k] - a[best]) - after[best]));
        };
        for (int64_t k = 0; k < c.kinds; k++)
            for (int64_t w = 0; w < tables.wide; w += LANES) total += pair(k, w);
        const float share = c.flow[rows[r]] / sum(total);
        for (int64_t k = 0; k < c.kinds; k++)
            for (int64_t w = 0; w < tables.wide; w += LANES) {
                float* const to = direct + k * tables.wide + w;
                store(to, load(to) + pair(k, w) * share);
            }
    }

    // What the whole row says about step t.
    void conclude(int r, int64_t t) {
        const int width = tables.width;
        const float *a = c.at(rows[r], t), *after = b + r * tables.wide;
        V p[MOST], most = splat(NEVER), total = {};
        for (int w = 0; w < width; w++) {
            p[w] = load(a + w * LANES) + load(after + w * LANES);
            most = larger(p[w], most);
        }
        const float lowered = finite(largest(most));
        for (int w = 0; w < width; w++) {
            p[w] = exponential(p[w] - lowered);
            total += p[w];
        }
        const float whole = sum(total), share = (c.flow ? c.flow[rows[r]] : 1) / (whole == 0 ? 1 : whole);
        for (int w = 0; w < width; w++) p[w] *= share;
        if (c.flow) take_away(r, t, p);
        row.write(c.slopes, rows[r], t, p);
        if (c.behind) {
            for (int w = 0; w < width; w++) p[w] = load(after + w * LANES);
            row.write(c.behind, rows[r], t, p);
        }
    }

    // The gradient of a path's own score, and the sums over rows.
    void take_away(int r, int64_t t, V* p) {
        const int64_t* path = c.tags + rows[r] * c.steps + t;
        const float flow = c.flow[rows[r]];
        if (!c.is_tag(*path) || (t && !c.is_tag(path[-1]))) return;  // nats are infinite, and nobody goes on from there
        p[*path / LANES][*path % LANES] -= flow;
        if (!pairs) return;
        if (t) direct[path[-1] * tables.wide + *path] -= flow;
        else add(direct + c.kinds * tables.wide, p);
        if (t == c.length(rows[r]) - 1) add(direct + (c.kinds + 1) * tables.wide, p);
    }

    void add(float* to, const V* p) const {
        for (int w = 0; w < tables.width; w++) store(to + w * LANES, load(to + w * LANES) + p[w]);
    }

    void run() {
        for (int r = 0; r < count; r++) {
            row.blank(c.slopes, rows[r], c.length(rows[r]));
            if (c.behind) row.blank(c.behind, rows[r], c.length(rows[r]));
        }
        int alive = 0;
        for (int64_t t = c.length(rows[0]) - 1; t >= 0; t--) {
            if (alive == TOGETHER) step<TOGETHER>(0, t);
            else for (int r = 0; r < alive; r++) step<1>(r, t);
            for (; alive < count && c.length(rows[alive]) > t; alive++)
                __builtin_memcpy(b + alive * tables.wide, tables.ends, sizeof(float) * tables.wide);
            for (int r = 0; r < alive; r++) conclude(r, t);
        }
    }
};

// Up to four rows on their best way.
struct Path {
    const Call& c;
    const Tables tables;
    const Row row;
    const int64_t* rows;
    const int count;
    float heights[TOGETHER * MOST * LANES];

    Path(const Call& call, const int64_t* rows, int count)
        : c(call), tables(call), row(call), rows(rows), count(count) {}

    template <int R>
    void step(int first, int64_t t) {
        const int width = tables.width;
        const float* h = heights + first * tables.wide;
        V reached[R * MOST];
        int w = 0;
        if (t) {
            for (; w + 2 <= width; w += 2)
                best<R, 2>(h, tables.transitions + w * LANES, width, tables.wide, c.kinds, reached + w);
            if (w < width) best<R, 1>(h, tables.transitions + w * LANES, width, tables.wide, c.kinds, reached + w);
        }
        for (int r = first; r < first + R; r++) {
            V* const a = reached + (r - first) * width;
            V scores[MOST], most = splat(NEVER);
            row.read(rows[r], t, scores);
            for (int w = 0; w < width; w++) {
                a[w] = (t ? a[w] : load(tables.begins + w * LANES)) + scores[w];
                most = larger(a[w], most);
            }
            const float lowered = finite(largest(most));
            float* const to = c.at(rows[r], t);
            for (int w = 0; w < width; w++) {
                a[w] -= lowered;
                store(to + w * LANES, a[w]);
                store(heights + r * tables.wide + w * LANES, a[w]);
            }
        }
    }

    // The best tag before what `onward` (wide,) adds; the first of equals. -1 where all is forbidden.
    int64_t choose_tag(const float* height, const float* onward) const {
        int64_t tag = -1;
        float most = NEVER;
        for (int64_t k = 0; k < c.kinds; k++)
            if (height[k] + onward[k] > most) most = height[k] + onward[k], tag = k;
        return tag;
    }

    void walk_back(int r) const {
        const int64_t length = c.length(rows[r]);
        int64_t* const path = c.path + rows[r] * c.steps;
        for (int64_t t = length; t < c.steps; t++) path[t] = -1;
        const float* onward = tables.ends;
        for (int64_t t = length - 1; t >= 0; t--) {
            const int64_t tag = onward ? choose_tag(c.at(rows[r], t), onward) : -1;
            onward = tag < 0 ? nullptr : tables.transposed + tag * tables.wide;
            path[t] = tag;
        }
    }

    void run() {
        int alive = count;
        for (int64_t t = 0; t < c.length(rows[0]); t++) {
            while (c.length(rows[alive - 1]) <= t) alive--;
            if (alive == TOGETHER) step<TOGETHER>(0, t);
            else for (int r = 0; r < alive; r++) step<1>(r, t);
        }
        for (int r = 0; r < count; r++) walk_back(r);
    }
};

// Rows by fours, which threads take one after another.
template <class F>
static inline void each_group(const Call& c, int64_t parts, const F& f) {
    const int64_t groups = (c.rows + TOGETHER - 1) / TOGETHER;
    int64_t next = 0;
    together(static_cast<int>(c.threads), [&](int, int) {
        for (int64_t part; (part = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < parts;)
            for (int64_t group = part; group < groups; group += parts) {
                int64_t rows[TOGETHER];
                int count = 0;
                for (int64_t i = group * TOGETHER; i < c.rows && count < TOGETHER; i++)
                    rows[count++] = c.order ? c.order[i] : i;
                f(rows, count, part);
            }
    });
}

static inline int64_t groups(const Call& c) { return (c.rows + TOGETHER - 1) / TOGETHER; }

extern "C" void crf_forward(const Call* call) {
    Tables(*call).fill();
    each_group(*call, groups(*call), [&](const int64_t* rows, int count, int64_t) { Forward(*call, rows, count).run(); });
}

// After `crf_forward` with the same tables. Each chunk of rows adds up its own sums, so that the number of threads
// does not show in the answer.
extern "C" void crf_backward(const Call* call) {
    const Call& c = *call;
    const int64_t wide = c.wide(), size = (2 * c.kinds + 2) * wide;
    each_group(c, c.sums ? c.chunks : groups(c), [&](const int64_t* rows, int count, int64_t chunk) {
        Backward(c, rows, count, c.sums ? c.sums + chunk * size : nullptr).run();
    });
    if (!c.sums) return;
    for (int64_t chunk = 1; chunk < c.chunks; chunk++)
        for (int64_t i = 0; i < size; i += LANES) store(c.sums + i, load(c.sums + i) + load(c.sums + chunk * size + i));
    const float *direct = c.sums + c.kinds * wide, *likely = Tables(c).likely;
    for (int64_t i = 0; i < c.kinds; i++) {
        for (int64_t j = 0; j < c.kinds; j++)
            c.dtransitions[i * c.kinds + j] = c.sums[i * wide + j] * likely[i * wide + j] + direct[i * wide + j];
        c.dbegins[i] = direct[c.kinds * wide + i];
        c.dends[i] = direct[(c.kinds + 1) * wide + i];
    }
}

extern "C" void crf_path(const Call* call) {
    Tables(*call).fill();
    each_group(*call, groups(*call), [&](const int64_t* rows, int count, int64_t) { Path(*call, rows, count).run(); });
}
