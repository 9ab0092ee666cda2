// A transducer's likelihood and its gradients, without the logits of the lattice: those of some nodes exist at a time.
//
// z = tanh(a + p) is 1 - 2 / (e^2a e^2p + 1), whose exponentials are taken once for each frame and each token. Of each
// node three logarithms stay: the blank's, the next token's, and that of the sum over all tokens, with which the way
// back computes probabilities anew. It leaves out nodes that have less than 1e-9 of the ways through their diagonal:
// each frame and each token is passed by all ways, so that float32 would not show them.
//
// Nodes (t, u) are kept by diagonals: place (t + u, u). A diagonal is computed side by side, sixteen nodes a vector.
#include "lanes.h"
#include "product.h"
#include "team.h"

constexpr int TILE = 32;        // nodes whose logits exist at a time
constexpr int PANEL = 3;        // vectors of columns that are multiplied together
constexpr float LITTLE = 1e-9f;
constexpr float TAME = 20;      // beyond, e^2a e^2p might leave the range

struct Call {
    int64_t rows, frames, places, joint, kinds;  // places: tokens of the longest row and one
    int64_t threads, chunks;                     // chunks: parts of the rows whose gradients of weights are kept apart
    int64_t room_size;
    const int64_t* order;          // (rows,): longest first
    const int64_t* lengths;        // (rows,): frames
    const int64_t* token_lengths;  // (rows,)
    const float* encoded;          // (rows, frames, joint)
    const float* predicted;        // (rows, places, joint)
    const float* weight;           // panels of (joint, 3 or less, 16): the tokens side by side
    const float* weight_back;      // panels of (kinds, 3 or less, 16): the joint side by side
    const float* bias;             // (wide_kinds,), -inf behind the last token
    const int64_t* tokens;         // (rows, places - 1)
    float* blank;                  // (rows, diagonals, wide): log probabilities, 16 numbers of room before all
    float* token;
    float* sums;
    float* ahead;                  // the log of the sum over all ways to each node, lowered
    float* nats;                   // (rows,)
    float* room;                   // (chunks, room_size)
    const float* flow;             // (rows,): the gradients of nats
    float* dencoded;               // (rows, frames, wide_joint) of zeros
    float* dpredicted;             // (rows, places, wide_joint) of zeros
    float* dweight;                // (chunks, wide_kinds, wide_joint) of zeros
    float* dbias;                  // (chunks, wide_kinds) of zeros

    static int64_t whole(int64_t count) { return (count + LANES - 1) / LANES * LANES; }
    int64_t wide() const { return whole(places + 1); }  // a place that no way reaches follows the last
    int64_t wide_joint() const { return whole(joint); }
    int64_t wide_kinds() const { return whole(kinds); }
    int64_t diagonals() const { return frames + places - 1; }
};

// out (8, C) += a (8, depth) times packed (depth, C).
template <int C, class A>
static inline void add_product(const A& a, const float* packed, int64_t stride, int64_t depth, float* out, int64_t wide) {
    V part[8][C];
    UNROLL for (int r = 0; r < 8; r++) UNROLL for (int c = 0; c < C; c++) part[r][c] = load(out + r * wide + c * LANES);
    for (int64_t k = 0; k < depth; k++) {
        V w[C];
        UNROLL for (int c = 0; c < C; c++) w[c] = load(packed + k * stride + c * LANES);
        UNROLL for (int r = 0; r < 8; r++) {
            const float factor = a(r, k);
            UNROLL for (int c = 0; c < C; c++) part[r][c] += w[c] * factor;
        }
    }
    UNROLL for (int r = 0; r < 8; r++) UNROLL for (int c = 0; c < C; c++) store(out + r * wide + c * LANES, part[r][c]);
}

template <class A>
static inline void add_columns(
    int columns, const A& a, const float* packed, int64_t stride, int64_t depth, float* out, int64_t wide) {
    if (columns == 1) add_product<1>(a, packed, stride, depth, out, wide);
    else if (columns == 2) add_product<2>(a, packed, stride, depth, out, wide);
    else add_product<3>(a, packed, stride, depth, out, wide);
}

// out (nodes, wide) += a (nodes, from) times panels of (depth, 3 or less, 16); nodes in eights.
static inline void add_panels(
    int nodes, const float* a, int64_t from, const float* panels, int64_t depth, float* out, int64_t wide) {
    for (int64_t w = 0; w < wide; w += PANEL * LANES) {
        const int columns = static_cast<int>((wide - w) / LANES < PANEL ? (wide - w) / LANES : PANEL);
        for (int r = 0; r < nodes; r += 8)
            add_columns(columns, [&](int i, int64_t k) { return a[(r + i) * from + k]; }, panels + w * depth,
                        columns * LANES, depth, out + r * wide + w, wide);
    }
}

// log(e^a + e^b).
static inline V log_add(V a, V b) {
    const V top = larger(a, b);
    return choose((a == b) & (a == NEVER), splat(NEVER), top + logarithm(1.0f + exponential(-absolute(a - b))));
}

struct Node {
    int64_t t, u;
    float blank, token;  // what the gradient takes from it: the shares of the ways that go each way, times the flow
};

// One row of a batch, with room for a tile of its nodes.
struct Row {
    const Call& c;
    const int64_t row, frames, places, wide, joint, kinds;  // the last two filled up to whole vectors
    const int64_t base;                                     // of this row's diagonals
    const float *const encoded, *const predicted;
    const int64_t* const tokens;
    float *const written, *const heard, *const z, *const slopes, *const inner, *const lattice;
    bool tame = true;
    int64_t frame = -1;  // that stands in `heard`

    Row(const Call& call, int64_t row, float* room)
        : c(call), row(row), frames(call.lengths[row]), places(call.token_lengths[row] + 1), wide(call.wide()),
          joint(call.wide_joint()), kinds(call.wide_kinds()), base(LANES + row * call.diagonals() * wide),
          encoded(call.encoded + row * call.frames * call.joint),
          predicted(call.predicted + row * call.places * call.joint), tokens(call.tokens + row * (call.places - 1)),
          written(room), heard(written + call.places * joint), z(heard + joint), slopes(z + TILE * joint),
          inner(slopes + TILE * kinds), lattice(inner + TILE * joint) {
        for (int64_t t = 0; t < frames; t++) look(encoded + t * c.joint);
        for (int64_t u = 0; u < places; u++) look(predicted + u * c.joint);
        for (int64_t u = 0; u < places; u++) prepare(predicted + u * c.joint, written + u * joint);
    }

    int64_t diagonals() const { return frames + places - 1; }
    int64_t at(int64_t t, int64_t u) const { return base + (t + u) * wide + u; }
    bool is_token(int64_t u) const { return u + 1 < places && 0 < tokens[u] && tokens[u] < c.kinds; }
    int left(int64_t j) const { return static_cast<int>(c.joint - j < LANES ? c.joint - j : LANES); }

    void look(const float* from) {
        V most = {};
        for (int64_t j = 0; j < c.joint; j += LANES) most = maximum(most, absolute(load(from + j, left(j))));
        for (int lane = 0; lane < LANES; lane++) tame &= most[lane] <= TAME;
    }

    void prepare(const float* from, float* to) const {
        for (int64_t j = 0; j < joint; j += LANES) {
            const V value = load(from + j, left(j));
            store(to + j, tame ? exponential(2.0f * value) : value);
        }
    }

    void combine(int64_t t, int64_t u, float* to) {
        if (t != frame) prepare(encoded + t * c.joint, heard), frame = t;
        const float* other = written + u * joint;
        if (tame)
            for (int64_t j = 0; j < joint; j += LANES)
                store(to + j, 1.0f - 2.0f * reciprocal(load(heard + j) * load(other + j) + 1.0f));
        else
            for (int64_t j = 0; j < joint; j += LANES)
                store(to + j, hyperbolic_tangent(load(heard + j) + load(other + j)));
    }

    // z and the logits of some nodes, which stand in `slopes` then.
    void logits(const Node* nodes, int count) {
        for (int i = 0; i < count; i++) combine(nodes[i].t, nodes[i].u, z + i * joint);
        for (int i = 0; i < (count + 7) / 8 * 8; i++) __builtin_memcpy(slopes + i * kinds, c.bias, sizeof(float) * kinds);
        add_panels(count, z, joint, c.weight, c.joint, slopes, kinds);
    }

    void steps(const Node* nodes, int count) {
        float tops[TILE] = {}, totals[TILE];
        for (float& total : totals) total = 1;
        logits(nodes, count);
        for (int i = 0; i < count; i++) {
            const float* from = slopes + i * kinds;
            V top = splat(NEVER), total = {};
            for (int64_t k = 0; k < kinds; k += LANES) top = larger(load(from + k), top);
            tops[i] = finite(largest(top));
            for (int64_t k = 0; k < kinds; k += LANES) total += exponential(load(from + k) - tops[i]);
            totals[i] = sum(total);
        }
        for (int i = 0; i < TILE; i += LANES) store(totals + i, logarithm(load(totals + i)));
        for (int i = 0; i < count; i++) {
            const auto [t, u, blank, token] = nodes[i];
            const int64_t place = at(t, u);
            const float all = tops[i] + totals[i], *from = slopes + i * kinds;
            c.sums[place] = all;
            if (t + 1 < frames || u + 1 == places) c.blank[place] = from[0] - all;
            if (is_token(u)) c.token[place] = from[tokens[u]] - all;
        }
    }

    void forward() {
        if (!frames) {
            c.nats[row] = places > 1 ? -NEVER : 0;
            return;
        }
        for (int64_t i = base; i < base + diagonals() * wide; i += LANES) {
            store(c.blank + i, splat(NEVER));
            store(c.token + i, splat(NEVER));
        }
        Node nodes[TILE];
        int count = 0;
        for (int64_t t = 0; t < frames; t++)
            for (int64_t u = 0; u < places; u++) {
                nodes[count++] = {t, u, 0, 0};
                if (count == TILE || (t + 1 == frames && u + 1 == places)) steps(nodes, count), count = 0;
            }
        c.nats[row] = static_cast<float>(-go());
    }

    // The log of the sum over all ways, and on the way `ahead`.
    double go() const {
        double taken = 0;
        for (int64_t w = 0; w < wide; w += LANES) store(c.ahead + base + w, splat(NEVER));
        c.ahead[base] = 0;
        for (int64_t d = 1; d < diagonals(); d++) {
            const int64_t to = base + d * wide, from = to - wide;
            V top = splat(NEVER);
            for (int64_t w = 0; w < wide; w += LANES) {
                const V stayed = load(c.ahead + from + w) + load(c.blank + from + w);
                V moved = load(c.ahead + from + w - 1) + load(c.token + from + w - 1);
                if (!w) moved[0] = NEVER;
                const V value = log_add(stayed, moved);
                store(c.ahead + to + w, value);
                top = larger(value, top);
            }
            const float lowered = finite(largest(top));
            for (int64_t w = 0; w < wide; w += LANES) store(c.ahead + to + w, load(c.ahead + to + w) - lowered);
            taken += lowered;
        }
        const int64_t last = base + (diagonals() - 1) * wide + places - 1;
        return taken + c.ahead[last] + c.blank[last];
    }

    // Of each node the share of all ways that go through it, and the part of these that leave it by the blank.
    void shares(float* through, float* blank) const {
        float* const after = blank + c.diagonals() * wide;  // (wide + 16,): the log of the sum over all ways onward
        for (int64_t w = 0; w < wide + LANES; w += LANES) store(after + w, splat(NEVER));
        for (int64_t d = diagonals() - 1; d >= 0; d--) {
            const int64_t place = base + d * wide;
            V top = splat(NEVER), most = splat(NEVER), total = {};
            for (int64_t w = 0; w < wide; w += LANES) {
                V stays = load(c.blank + place + w) + load(after + w);
                if (d == diagonals() - 1) stays = load(c.blank + place + w);  // where all leave
                const V onward = log_add(stays, load(c.token + place + w) + load(after + w + 1));
                store(blank + d * wide + w, choose(onward == NEVER, splat(0), exponential(stays - onward)));
                store(after + w, onward);
                top = larger(onward, top);
                const V both = onward + load(c.ahead + place + w);
                store(through + d * wide + w, both);
                most = larger(both, most);
            }
            const float lowered = finite(largest(top)), best = finite(largest(most));
            for (int64_t w = 0; w < wide; w += LANES) {
                store(after + w, load(after + w) - lowered);
                const V share = exponential(load(through + d * wide + w) - best);
                store(through + d * wide + w, share);
                total += share;
            }
            const float whole = sum(total), factor = whole == 0 ? 0 : 1 / whole;
            for (int64_t w = 0; w < wide; w += LANES)
                store(through + d * wide + w, load(through + d * wide + w) * factor);
        }
    }

    void backward(float* dweight, float* dbias) {
        const float flow = c.flow[row];
        if (!frames || flow == 0) return;
        float *const through = lattice, *const blank = through + c.diagonals() * wide;
        shares(through, blank);
        Node nodes[TILE];
        int count = 0;
        for (int64_t t = 0; t < frames; t++)
            for (int64_t u = 0; u < places; u++) {
                const int64_t place = (t + u) * wide + u;
                const float share = through[place];
                if (share <= LITTLE) continue;
                nodes[count++] = {t, u, flow * share * blank[place], flow * share * (1 - blank[place])};
                if (count == TILE) slope(nodes, count, dweight, dbias), count = 0;
            }
        if (count) slope(nodes, count, dweight, dbias);
    }

    // What some nodes add to the gradients.
    void slope(const Node* nodes, int count, float* dweight, float* dbias) {
        const int filled = (count + 7) / 8 * 8;
        logits(nodes, count);
        for (int i = 0; i < count; i++) {
            const auto [t, u, blank, token] = nodes[i];
            float* const to = slopes + i * kinds;
            const float all = c.sums[at(t, u)];
            for (int64_t k = 0; k < kinds; k += LANES) store(to + k, exponential(load(to + k) - all) * (blank + token));
            to[0] -= blank;
            if (is_token(u)) to[tokens[u]] -= token;
            for (int64_t k = 0; k < kinds; k += LANES) store(dbias + k, load(dbias + k) + load(to + k));
        }
        for (int64_t i = count * kinds; i < filled * kinds; i += LANES) store(slopes + i, V{});
        for (int64_t i = 0; i < filled * joint; i += LANES) store(inner + i, V{});
        add_panels(count, slopes, kinds, c.weight_back, c.kinds, inner, joint);
        for (int64_t k = 0; k < c.kinds; k += 8)
            for (int64_t j = 0; j < joint; j += PANEL * LANES) {
                const int columns = static_cast<int>((joint - j) / LANES < PANEL ? (joint - j) / LANES : PANEL);
                add_columns(columns, [&](int i, int64_t n) { return slopes[n * kinds + k + i]; }, z + j, joint, count,
                            dweight + k * joint + j, joint);
            }
        for (int i = 0; i < count; i++) {
            float* const heard = c.dencoded + (row * c.frames + nodes[i].t) * joint;
            float* const written = c.dpredicted + (row * c.places + nodes[i].u) * joint;
            for (int64_t j = 0; j < joint; j += LANES) {
                const V value = load(z + i * joint + j);
                const V slope = load(inner + i * joint + j) * (1.0f - value * value);
                store(heard + j, load(heard + j) + slope);
                store(written + j, load(written + j) + slope);
            }
        }
    }
};

// Rows by chunks, which threads take one after another, so that the number of threads does not show in the answer.
template <class F>
static inline void each_row(const Call& c, const F& f) {
    int64_t next = 0;
    together(static_cast<int>(c.threads), [&](int, int) {
        for (int64_t chunk; (chunk = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < c.chunks;) {
            float* const room = c.room + chunk * c.room_size;
            for (int64_t i = chunk; i < c.rows; i += c.chunks) {
                __builtin_memset(room, 0, sizeof(float) * c.room_size);
                Row row(c, c.order[i], room);
                f(row, chunk);
            }
        }
    });
}

extern "C" void transducer_forward(const Call* call) {
    each_row(*call, [](Row& row, int64_t) { row.forward(); });
}

// After `transducer_forward`. The sums of all chunks end in the first.
extern "C" void transducer_backward(const Call* call) {
    const Call& c = *call;
    const int64_t kinds = c.wide_kinds(), size = kinds * c.wide_joint();
    each_row(c, [&](Row& row, int64_t chunk) { row.backward(c.dweight + chunk * size, c.dbias + chunk * kinds); });
    for (int64_t chunk = 1; chunk < c.chunks; chunk++) {
        for (int64_t i = 0; i < size; i += LANES)
            store(c.dweight + i, load(c.dweight + i) + load(c.dweight + chunk * size + i));
        for (int64_t i = 0; i < kinds; i += LANES)
            store(c.dbias + i, load(c.dbias + i) + load(c.dbias + chunk * kinds + i));
    }
}
