/* A forward pass of a Llama-like model over many sequences at once, in float32.

   A batch is a list of tokens, each with its position and its row of the cache: one for a chain that decodes, several
   for a chain that reads. Whatever the list, each token's numbers come out of the same operations in the same order,
   so a chain does not depend on its neighbours to the last bit, and reading a text gives what decoding it gave.

   Weights are packed: columns in panels of PANEL, within a panel depth first. Rows of scratch are padded to panels. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define TALL 8 /* rows of a tile: as many accumulators as there are registers for */
#elif defined(__AVX__)
#define LANES 8
#define TALL 6
#else
#define LANES 4
#define TALL 4
#endif
#define PANEL (2 * LANES)
#define GROUP 4 /* heads that read keys and values together */
#define BLOCK 64 /* tokens that go through all layers together; bounds the scratch */
#define MOST_PARTS 1024

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct layer {
    const float *norm, *qkv, *qkv_bias, *q_norm, *k_norm, *out, *out_bias;
    const float *mlp_norm, *gate_up, *gate_up_bias, *down, *down_bias;
};

struct model {
    int64_t layers, width, heads, kv_heads, dim, inner, vocab, longest;
    float eps, scale;
    const float *embed, *norm, *head, *cos, *sin; /* cos, sin: [longest, dim] */
    const struct layer *layer;
};

struct batch {
    int64_t tokens, wanted, slabs, parts;
    const int64_t *token, *position, *slab, *row; /* [tokens] */
    const int64_t *want;                          /* [wanted] ascending places of tokens whose scores are asked for */
    float *const *cache;                          /* [slabs, layers, 2]: keys and values, [rows, kv_heads, width, dim] */
    const int64_t *slab_width, *slab_rows;        /* [slabs] */
    float *scores;                                /* [wanted, padded vocab] */
    float *states;                                /* [layers + 1, wanted, width], or none */
    const float *temperature;                     /* [wanted]; 0 is greedy */
    const float *top_p;                           /* [wanted] the mass of the likeliest that may be drawn; 1: all */
    const double *chance;                         /* [wanted] in [0, 1) */
    int64_t *picked;                              /* [wanted] a token drawn for each, or none */
    const int64_t *bias_from;                     /* [wanted + 1] where each one's biases begin, or none */
    const int64_t *bias_token;                    /* what is added to the score of which token before the draw */
    const float *bias;
    const int64_t *cuts;                          /* [parts + 1] places where one thread's part ends */
};

int64_t kernel_lanes(void) { return LANES; }

static inline int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline vec splat(float x) { return x - (vec){0}; }

static inline vec pick(ivec where, vec a, vec b) { return (vec)((where & (ivec)a) | (~where & (ivec)b)); }

/* e^x for each lane, to about one unit in the last place; 0 below e^-87. */
static inline vec exponential(vec x) {
    const vec lowest = splat(-87.0f), highest = splat(88.0f), magic = splat(12582912.0f); /* 1.5 * 2^23 */
    const ivec tiny = x < lowest;
    x = pick(tiny, lowest, x);
    x = pick(x > highest, highest, x);
    vec shifted = x * 1.44269504f + magic, n = shifted - magic;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    ivec exponent = ((ivec)shifted - (ivec)magic + 127) << 23;
    return (vec)(~tiny & (ivec)(p * (vec)exponent));
}

/* The sums of neighbouring lanes of a, then those of b. */
static inline vec halve(vec a, vec b) {
#if defined(__clang__)
    vec even, odd; /* compilers that do not know the next two lines find the shuffle by themselves */
    for (int i = 0; i < LANES / 2; i++) {
        even[i] = a[2 * i], even[i + LANES / 2] = b[2 * i];
        odd[i] = a[2 * i + 1], odd[i + LANES / 2] = b[2 * i + 1];
    }
    return even + odd;
#else
    ivec even, odd;
    for (int i = 0; i < LANES; i++) even[i] = 2 * i, odd[i] = 2 * i + 1;
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
#endif
}

/* Lane i of what this leaves in x[0] is the sum over the lanes of x[i]. */
static inline __attribute__((always_inline)) void sums(vec x[LANES]) {
#pragma GCC unroll 4
    for (int left = LANES / 2; left; left /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < left; i++) x[i] = halve(x[2 * i], x[2 * i + 1]);
}

static inline float sum(vec x) {
    for (int left = LANES / 2; left; left /= 2) x = halve(x, x);
    return x[0];
}

/* y = x / sqrt(mean(x^2) + eps) * weight */
static void rms_norm(const float *x, const float *weight, float *y, int64_t n, float eps) {
    vec squares = splat(0);
    float rest = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec part = *(const vec *)(x + i);
        squares += part * part;
    }
    for (; i < n; i++) rest += x[i] * x[i];
    float factor = 1.0f / __builtin_sqrtf((sum(squares) + rest) / (float)n + eps);
    for (i = 0; i < n; i++) y[i] = x[i] * factor * weight[i];
}

enum epilogue { STORE, ADD, GATE };

/* `rows` rows of x times one panel of weights. GATE: the panel's first half are gates, y gets silu(gate) * up. */
static inline __attribute__((always_inline)) void tile(
    const int rows, const float *x, int64_t x_step, const float *w, int64_t depth, const float *bias, float *y,
    int64_t y_step, enum epilogue what
) {
    vec low[TALL], high[TALL];
    for (int r = 0; r < rows; r++) low[r] = high[r] = splat(0);
    for (int64_t k = 0; k < depth; k++, w += PANEL) {
        const vec a = *(const vec *)w, b = *(const vec *)(w + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            low[r] += x[r * x_step + k] * a;
            high[r] += x[r * x_step + k] * b;
        }
    }
    for (int r = 0; r < rows; r++, y += y_step) {
        if (bias) low[r] += *(const vec *)bias, high[r] += *(const vec *)(bias + LANES);
        if (what == GATE) {
            *(vec *)y = low[r] / (1.0f + exponential(-low[r])) * high[r];
        } else if (what == ADD) {
            *(vec *)y += low[r];
            *(vec *)(y + LANES) += high[r];
        } else {
            *(vec *)y = low[r];
            *(vec *)(y + LANES) = high[r];
        }
    }
}

/* y[m] = x[m] W^T (+ bias), or what the epilogue makes of it. */
static void product(
    int64_t count, const float *x, int64_t x_step, const float *w, int64_t depth, int64_t columns, const float *bias,
    float *y, int64_t y_step, enum epilogue what
) {
    const int64_t wide = what == GATE ? LANES : PANEL;
    for (int64_t at = 0; at < columns; at += PANEL, w += depth * PANEL, y += wide) {
        const float *part = bias ? bias + at : NULL;
        int64_t m = 0;
        for (; m + TALL <= count; m += TALL)
            tile(TALL, x + m * x_step, x_step, w, depth, part, y + m * y_step, y_step, what);
        for (; m + 2 <= count; m += 2) tile(2, x + m * x_step, x_step, w, depth, part, y + m * y_step, y_step, what);
        for (; m < count; m++) tile(1, x + m * x_step, x_step, w, depth, part, y + m * y_step, y_step, what);
    }
}

/* Rotate pairs (i, i + dim/2) by the angles of a position. */
static inline void rotate(const float *x, const float *cosine, const float *sine, float *y, int64_t dim) {
    const int64_t half = dim / 2;
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half];
        y[i] = a * cosine[i] - b * sine[i];
        y[i + half] = b * cosine[i + half] + a * sine[i + half];
    }
}

/* Attention over `n` positions of `group` heads that share keys; `weight` is scratch of as many rows of `step`.
   A row of the cache is whole vectors long: what lies beyond `n` is read and thrown away. */
static inline __attribute__((always_inline)) void attend(
    const int group, const float *q, const float *keys, const float *values, int64_t n, int64_t dim, float *weight,
    int64_t step, float *out
) {
    vec top[GROUP];
    float share[GROUP];
    for (int g = 0; g < group; g++) top[g] = splat(-__builtin_inff());
    for (int64_t t = 0; t < n; t += LANES) {
        for (int g = 0; g < group; g++) {
            vec dot[LANES];
            for (int64_t j = 0; g == 0 && j < LANES * dim; j += 16) { /* a cache line of what is needed soon */
                __builtin_prefetch(keys + (t + 2 * LANES) * dim + j);
                __builtin_prefetch(values + t * dim + j, 0, 2);
            }
#pragma GCC unroll 16
            for (int j = 0; j < LANES; j++) dot[j] = splat(0);
            for (int64_t i = 0; i < dim; i += LANES) {
                const vec part = *(const vec *)(q + g * dim + i);
                const float *key = keys + t * dim + i;
#pragma GCC unroll 16
                for (int j = 0; j < LANES; j++) dot[j] += part * *(const vec *)(key + j * dim);
            }
            sums(dot);
            if (t + LANES > n)
                for (int j = n - t; j < LANES; j++) dot[0][j] = -__builtin_inff();
            *(vec *)(weight + g * step + t) = dot[0];
            top[g] = pick(dot[0] > top[g], dot[0], top[g]);
        }
    }
    for (int g = 0; g < group; g++) {
        vec total = splat(0);
        float most = top[g][0];
        for (int j = 1; j < LANES; j++) most = top[g][j] > most ? top[g][j] : most;
        for (int64_t t = 0; t < n; t += LANES) {
            const vec e = exponential(*(vec *)(weight + g * step + t) - most);
            *(vec *)(weight + g * step + t) = e;
            total += e;
        }
        share[g] = 1.0f / sum(total);
    }
    for (int64_t i = 0; i < dim; i += LANES) {
        vec even[GROUP], odd[GROUP];
        for (int g = 0; g < group; g++) even[g] = odd[g] = splat(0);
        const float *value = values + i;
        int64_t t = 0;
        for (; t + 2 <= n; t += 2, value += 2 * dim) {
            const vec a = *(const vec *)value, b = *(const vec *)(value + dim);
#pragma GCC unroll 8
            for (int g = 0; g < group; g++) {
                even[g] += weight[g * step + t] * a;
                odd[g] += weight[g * step + t + 1] * b;
            }
        }
        if (t < n)
            for (int g = 0; g < group; g++) even[g] += weight[g * step + t] * *(const vec *)value;
        for (int g = 0; g < group; g++) *(vec *)(out + g * dim + i) = (even[g] + odd[g]) * share[g];
    }
}

/* The same for a number of heads that is known when it runs only: four at once, then what is left. */
static void attend_group(
    int64_t group, const float *q, const float *keys, const float *values, int64_t n, int64_t dim, float *weight,
    int64_t step, float *out
) {
    int64_t g = 0;
    for (; g + 4 <= group; g += 4) attend(4, q + g * dim, keys, values, n, dim, weight, step, out + g * dim);
    if (group - g == 3) attend(3, q + g * dim, keys, values, n, dim, weight, step, out + g * dim);
    if (group - g == 2) attend(2, q + g * dim, keys, values, n, dim, weight, step, out + g * dim);
    if (group - g == 1) attend(1, q + g * dim, keys, values, n, dim, weight, step, out + g * dim);
}

struct candidate {
    float weight;
    int32_t token;
};

static int heavier(const void *one, const void *other) {
    const struct candidate *a = one, *b = other;
    if (a->weight != b->weight) return a->weight < b->weight ? 1 : -1;
    return a->token - b->token;
}

/* Leaves of `weight` the fewest of the heaviest that hold `top_p` of the total, the heaviest always; returns their sum. */
static double keep_nucleus(float *weight, int64_t vocab, double total, float top_p, struct candidate *space) {
    const double least = (1.0 - top_p) * total / vocab; /* lighter ones hold less than 1 - top_p all together */
    int64_t found = 0, kept = 0;
    for (int64_t i = 0; i < vocab; i++)
        if (weight[i] >= least) space[found++] = (struct candidate){weight[i], i};
    qsort(space, found, sizeof *space, heavier);
    memset(weight, 0, 4 * vocab);
    double mass = 0;
    for (; kept < found && (kept == 0 || mass < top_p * total); kept++) {
        weight[space[kept].token] = space[kept].weight;
        mass += space[kept].weight;
    }
    return mass;
}

/* The token at which the softmax of scores / temperature, cut to its nucleus, reaches `chance`; at temperature 0 the
   likeliest. `weight` is scratch, `space` too. */
static int64_t draw(
    const float *scores, int64_t vocab, float temperature, float top_p, double chance, float *weight,
    struct candidate *space
) {
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (scores[i] > scores[best]) best = i;
    if (temperature <= 0) return best;
    const float most = scores[best], cool = 1.0f / temperature;
    double left = 0;
    for (int64_t i = 0; i < vocab; i += LANES) {
        vec e = exponential((*(const vec *)(scores + i) - most) * cool);
        if (i + LANES > vocab)
            for (int j = vocab - i; j < LANES; j++) e[j] = 0;
        *(vec *)(weight + i) = e;
        left += sum(e);
    }
    if (top_p < 1) left = keep_nucleus(weight, vocab, left, top_p, space);
    left *= chance;
    for (int64_t i = 0; i < vocab; i += LANES) {
        const double part = sum(*(const vec *)(weight + i));
        if (left >= part) {
            left -= part;
            continue;
        }
        for (int64_t j = i; j < i + LANES; j++) {
            if (weight[j] > 0) best = j; /* where rounding takes the last bit of chance past them all */
            if (left < weight[j]) return j;
            left -= weight[j];
        }
        return best;
    }
    return best;
}

/* The scores of a wanted token with its biases; a copy in `space` if there are any. */
static const float *biased(const struct batch *b, int64_t i, int64_t vocab, float *space) {
    const float *scores = b->scores + i * vocab;
    if (!b->bias_from || b->bias_from[i] == b->bias_from[i + 1]) return scores;
    memcpy(space, scores, 4 * vocab);
    for (int64_t k = b->bias_from[i]; k < b->bias_from[i + 1]; k++) space[b->bias_token[k]] += b->bias[k];
    return space;
}

static float *claim(float **free_from, int64_t floats) {
    float *got = *free_from;
    *free_from += padded(floats, 16);
    return got;
}

/* Keys and values of the tokens from `first` to `end` into the cache, the scores of those that are wanted out.
   1 when memory runs out. Threads may share a batch, each with its part, if no chain is in two of them. */
static int forward(const struct model *m, const struct batch *b, int64_t first, int64_t end) {
    const int64_t d = m->width, dim = m->dim, heads = m->heads, kv = m->kv_heads, group = heads / kv;
    const int64_t wide = padded(d, PANEL), columns = padded((heads + 2 * kv) * dim, PANEL);
    const int64_t inner = padded(m->inner, LANES), vocab = padded(m->vocab, PANEL);
    int64_t longest = 0;
    for (int64_t i = first; i < end; i++) longest = b->position[i] >= longest ? b->position[i] + 1 : longest;
    longest = padded(longest, LANES);
    const int64_t rows = end - first < BLOCK ? end - first : BLOCK;
    const int64_t seen_step = padded(heads * dim, 16);
    const int64_t most = GROUP * longest > 4 * vocab ? GROUP * longest : 4 * vocab;
    const int64_t each = 2 * wide + columns + seen_step + inner;
    float *scratch = aligned_alloc(64, 4 * padded(rows * each + dim + most + 8 * 16, 16));
    if (!scratch) return 1;
    float *left = scratch;
    float *x = claim(&left, rows * wide), *normed = claim(&left, rows * wide), *qkv = claim(&left, rows * columns);
    float *seen = claim(&left, rows * seen_step), *gated = claim(&left, rows * inner);
    float *turned = claim(&left, dim), *weight = claim(&left, most);
    memset(x, 0, 4 * rows * wide);
    int64_t done = 0; /* wanted tokens of earlier parts and blocks */
    while (done < b->wanted && b->want[done] < first) done++;

    for (int64_t begin = first; begin < end; begin += BLOCK) {
        const int64_t n = end - begin < BLOCK ? end - begin : BLOCK;
        int64_t asked = done;
        while (asked < b->wanted && b->want[asked] < begin + n) asked++;
        for (int64_t i = 0; i < n; i++) memcpy(x + i * wide, m->embed + b->token[begin + i] * d, 4 * d);

        for (int64_t number = 0; number < m->layers; number++) {
            const struct layer *l = m->layer + number;
            if (b->states)
                for (int64_t i = done; i < asked; i++)
                    memcpy(b->states + (number * b->wanted + i) * d, x + (b->want[i] - begin) * wide, 4 * d);
            for (int64_t i = 0; i < n; i++) rms_norm(x + i * wide, l->norm, normed + i * wide, d, m->eps);
            product(n, normed, wide, l->qkv, d, columns, l->qkv_bias, qkv, columns, STORE);
            for (int64_t i = 0; i < n; i++) { /* all keys and values first: a chain's later tokens read its earlier ones */
                const int64_t at = begin + i, p = b->position[at], s = b->slab[at], length = b->slab_width[s];
                float *own = qkv + i * columns;
                float *const *pair = b->cache + 2 * (s * m->layers + number);
                for (int64_t h = 0; h < heads + kv; h++) {
                    float *head = own + h * dim;
                    const float *scale = h < heads ? l->q_norm : l->k_norm;
                    if (scale) rms_norm(head, scale, head, dim, m->eps);
                    rotate(head, m->cos + p * dim, m->sin + p * dim, turned, dim);
                    if (h < heads) {
                        for (int64_t j = 0; j < dim; j++) head[j] = turned[j] * m->scale;
                    } else {
                        const int64_t place = ((b->row[at] * kv + h - heads) * length + p) * dim;
                        memcpy(pair[0] + place, turned, 4 * dim);
                        memcpy(pair[1] + place, head + kv * dim, 4 * dim);
                    }
                }
            }
            for (int64_t i = 0; i < n; i++) {
                const int64_t at = begin + i, s = b->slab[at], length = b->slab_width[s];
                float *const *pair = b->cache + 2 * (s * m->layers + number);
                for (int64_t h = 0; h < kv; h++) {
                    const int64_t place = (b->row[at] * kv + h) * length * dim;
                    const float *q = qkv + i * columns + h * group * dim, *keys = pair[0] + place, *values = pair[1] + place;
                    attend_group(group, q, keys, values, b->position[at] + 1, dim, weight, longest,
                                 seen + i * seen_step + h * group * dim);
                }
            }
            product(n, seen, seen_step, l->out, heads * dim, wide, l->out_bias, x, wide, ADD);
            for (int64_t i = 0; i < n; i++) rms_norm(x + i * wide, l->mlp_norm, normed + i * wide, d, m->eps);
            product(n, normed, wide, l->gate_up, d, 2 * inner, l->gate_up_bias, gated, inner, GATE);
            product(n, gated, inner, l->down, m->inner, wide, l->down_bias, x, wide, ADD);
        }

        for (int64_t i = done; i < asked; i++)
            rms_norm(x + (b->want[i] - begin) * wide, m->norm, normed + (i - done) * wide, d, m->eps);
        if (b->states)
            for (int64_t i = done; i < asked; i++)
                memcpy(b->states + (m->layers * b->wanted + i) * d, normed + (i - done) * wide, 4 * d);
        product(asked - done, normed, wide, m->head, d, vocab, NULL, b->scores + done * vocab, vocab, STORE);
        if (b->picked)
            for (int64_t i = done; i < asked; i++)
                b->picked[i] = draw(biased(b, i, vocab, weight + vocab), m->vocab, b->temperature[i], b->top_p[i],
                                    b->chance[i], weight, (struct candidate *)(weight + 2 * vocab));
        done = asked;
    }
    free(scratch);
    return 0;
}

struct part {
    const struct model *model;
    const struct batch *batch;
    int64_t first, end;
    int failed;
};

static void *run(void *given) {
    struct part *part = given;
    part->failed = forward(part->model, part->batch, part->first, part->end);
    return NULL;
}

enum { DONE, NO_MEMORY, TOKEN, POSITION, ROW, WANTED, BIAS, PARTS }; /* `_FAULTS` in kernel.py says them in words */

static int within(int64_t x, int64_t end) { return x >= 0 && x < end; }

/* The first thing in a batch that would have memory read or written which is not its own; DONE without one. */
static int fault_in(const struct model *m, const struct batch *b) {
    if (b->tokens < 0 || b->wanted < 0 || b->slabs < 0) return PARTS;
    for (int64_t i = 0; i < b->tokens; i++) {
        if (!within(b->token[i], m->vocab)) return TOKEN;
        if (!within(b->slab[i], b->slabs) || !within(b->row[i], b->slab_rows[b->slab[i]])) return ROW;
        if (!within(b->position[i], m->longest) || b->position[i] >= b->slab_width[b->slab[i]]) return POSITION;
    }
    for (int64_t i = 0; i < b->wanted; i++)
        if (!within(b->want[i], b->tokens) || (i && b->want[i] <= b->want[i - 1])) return WANTED;
    if (b->bias_from && b->bias_from[0] != 0) return BIAS;
    for (int64_t i = 0; b->bias_from && i < b->wanted; i++) {
        if (b->bias_from[i + 1] < b->bias_from[i]) return BIAS;
        for (int64_t k = b->bias_from[i]; k < b->bias_from[i + 1]; k++)
            if (!within(b->bias_token[k], m->vocab)) return BIAS;
    }
    if (b->parts < 1 || b->parts > MOST_PARTS || b->cuts[0] != 0 || b->cuts[b->parts] != b->tokens) return PARTS;
    for (int64_t i = 0; i < b->parts; i++)
        if (b->cuts[i + 1] < b->cuts[i]) return PARTS;
    return DONE;
}

/* The whole batch, in as many threads as it has parts. A batch with a fault in it is not begun. */
int kernel_forward(const struct model *m, const struct batch *b) {
    const int fault = fault_in(m, b);
    if (fault) return fault;
    struct part part[b->parts];
    pthread_t thread[b->parts];
    int failed = 0;
    int64_t started = 1;
    for (int64_t i = 0; i < b->parts; i++) part[i] = (struct part){m, b, b->cuts[i], b->cuts[i + 1], 0};
    while (started < b->parts && !pthread_create(thread + started, NULL, run, part + started)) started++;
    run(part);
    for (int64_t i = 1; i < started; i++) pthread_join(thread[i], NULL);
    for (int64_t i = 0; i < b->parts; i++) failed |= part[i].failed;
    return failed || started < b->parts ? NO_MEMORY : DONE;
}
