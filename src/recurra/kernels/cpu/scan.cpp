// The linear recurrence h_t = a_t h_{t-1} + b_t over rows of `width` floats, forward and back.
//
// No float of a row sees another one, or two of them where they are the parts of a complex number. So the work is cut
// into pieces, a row and some of its floats each, which threads take one after another without ever waiting for each
// other. Within a piece the states stay in registers while a, b and h pass by once, in the order in which they lie.
// A row ends at its length: what stands behind it in a, b and dh is not read, and in h, da and db it becomes zero.
#include "math.h"
#include "product.h"
#include "team.h"

struct Call {
    int64_t rows, steps, width;          // width in floats: H, or 2 H of complex numbers
    int64_t threads, pieces;             // pieces of each row
    int64_t complex, constant;           // constant: a and da have neither rows nor steps
    int64_t a_row, a_step, b_row, b_step, dh_row, dh_step;  // floats from one to the next
    const int64_t* lengths;              // (rows,) or null
    const float* a;
    const float* b;
    const float* first;                  // (rows, width), as all that follows where nothing else is said
    float* h;                            // (rows, steps, width)
    float* last;
    const float* dh;
    const float* dlast;
    float* da;                           // (rows, steps, width), or (rows, width) if a is constant
    float* db;                           // (rows, steps, width)
    float* dfirst;
};

struct Real {
    static inline V times(V a, V h) { return a * h; }
    static inline V times_conjugate(V a, V g) { return a * g; }
};

// Real and imaginary parts side by side, as torch keeps them. Whole numbers lie in a vector, since it has 16 lanes.
struct Complex {
    static inline V real(V a) {
        return __builtin_shufflevector(a, a, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
    }
    static inline V imaginary(V a) {
        return __builtin_shufflevector(a, a, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
    }
    static inline V swapped(V a) {
        return __builtin_shufflevector(a, a, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    }
    static constexpr V SIGN = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
    static inline V times(V a, V h) { return real(a) * h + SIGN * imaginary(a) * swapped(h); }
    static inline V times_conjugate(V a, V g) { return real(a) * g - SIGN * imaginary(a) * swapped(g); }
};

// N vectors of one row, from float `from` on; the only vector of a narrow row has `count` floats.
template <class Number, int N>
struct Strip {
    const Call& c;
    const int64_t row, from, length;
    const int count;

    Strip(const Call& call, int64_t row, int64_t from)
        : c(call), row(row), from(from), length(call.lengths ? call.lengths[row] : call.steps),
          count(call.width < LANES ? static_cast<int>(call.width) : LANES) {}

    V get(const float* p, int n) const { return N > 1 ? load(p + n * LANES) : load(p, count); }
    void put(float* p, int n, V value) const {
        if (N > 1) store(p + n * LANES, value);
        else store(p, value, count);
    }
    int64_t place() const { return row * c.width + from; }
    int64_t place(int64_t t) const { return (row * c.steps + t) * c.width + from; }

    void blank(float* values) const {
        for (int64_t t = length; t < c.steps; t++) UNROLL for (int n = 0; n < N; n++) put(values + place(t), n, V{});
    }

    void forward() const {
        V h[N];
        UNROLL for (int n = 0; n < N; n++) h[n] = get(c.first + place(), n);
        const float *a = c.a + row * c.a_row + from, *b = c.b + row * c.b_row + from;
        float* to = c.h + place(0);
        for (int64_t t = 0; t < length; t++, a += c.a_step, b += c.b_step, to += c.width)
            UNROLL for (int n = 0; n < N; n++) {
                h[n] = Number::times(get(a, n), h[n]) + get(b, n);
                put(to, n, h[n]);
            }
        UNROLL for (int n = 0; n < N; n++) put(c.last + place(), n, h[n]);
        blank(c.h);
    }

    // g = dh_t + what comes from the step behind; db_t = g, da_t = g conj(h_{t-1}), and conj(a_t) g goes on.
    void backward() const {
        V g[N], sum[N] = {};
        UNROLL for (int n = 0; n < N; n++) g[n] = get(c.dlast + place(), n);
        for (int64_t t = length - 1; t >= 0; t--) {
            const float* a = c.a + row * c.a_row + t * c.a_step + from;
            const float* dh = c.dh + row * c.dh_row + t * c.dh_step + from;
            const float* before = t ? c.h + place(t - 1) : c.first + place();
            UNROLL for (int n = 0; n < N; n++) {
                g[n] += get(dh, n);
                put(c.db + place(t), n, g[n]);
                const V slope = Number::times_conjugate(get(before, n), g[n]);
                if (c.constant) sum[n] += slope;
                else put(c.da + place(t), n, slope);
                g[n] = Number::times_conjugate(get(a, n), g[n]);
            }
        }
        UNROLL for (int n = 0; n < N; n++) put(c.dfirst + place(), n, g[n]);
        blank(c.db);
        if (c.constant) UNROLL for (int n = 0; n < N; n++) put(c.da + place(), n, sum[n]);
        else blank(c.da);
    }
};

// A piece of a row in strips as wide as they fit. The last vector may begin within the one before: what both compute
// is the same.
template <class Number, class F>
static inline void strips(const Call& c, int64_t row, int64_t from, int64_t to, const F& f) {
    while (from < to) {
        if (to - from >= 8 * LANES) f(Strip<Number, 8>(c, row, from)), from += 8 * LANES;
        else if (to - from >= 4 * LANES) f(Strip<Number, 4>(c, row, from)), from += 4 * LANES;
        else if (to - from >= 2 * LANES) f(Strip<Number, 2>(c, row, from)), from += 2 * LANES;
        else {
            const int64_t whole = to - from < LANES && c.width >= LANES ? to - LANES : from;
            f(Strip<Number, 1>(c, row, whole));
            from += LANES;
        }
    }
}

template <class F>
static inline void each_piece(const Call& c, const F& f) {
    const int64_t vectors = c.width < LANES ? 1 : c.width / LANES, many = c.rows * c.pieces;
    int64_t next = 0;
    together(static_cast<int>(c.threads), [&](int, int) {
        for (int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < many;) {
            const int64_t piece = i % c.pieces, from = vectors * piece / c.pieces * LANES;
            const int64_t to = piece + 1 == c.pieces ? c.width : vectors * (piece + 1) / c.pieces * LANES;
            if (c.complex) strips<Complex>(c, i / c.pieces, from, to, f);
            else strips<Real>(c, i / c.pieces, from, to, f);
        }
    });
}

extern "C" void scan_forward(const Call* call) {
    each_piece(*call, [](const auto& strip) { strip.forward(); });
}
extern "C" void scan_backward(const Call* call) {
    each_piece(*call, [](const auto& strip) { strip.backward(); });
}
