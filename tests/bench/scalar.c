/* Floating point, one number at a time. */
#include "bench.h"

#include <math.h>

#pragma GCC optimize("no-tree-vectorize")

/* ---- nbody: the outer planets by a symplectic integrator, in double ---- */

struct body {
    double x[3], v[3], mass;
};

static double energy(const struct body *bodies, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        const struct body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->v[0] * a->v[0] + a->v[1] * a->v[1] + a->v[2] * a->v[2]);
        for (int j = i + 1; j < count; j++) {
            double square = 0;
            for (int k = 0; k < 3; k++)
                square += (a->x[k] - bodies[j].x[k]) * (a->x[k] - bodies[j].x[k]);
            sum -= a->mass * bodies[j].mass / sqrt(square);
        }
    }
    return sum;
}

static void advance(struct body *bodies, int count, double step)
{
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double dx = a->x[0] - b->x[0], dy = a->x[1] - b->x[1], dz = a->x[2] - b->x[2];
            double square = dx * dx + dy * dy + dz * dz;
            double pull = step / (square * sqrt(square));
            a->v[0] -= dx * b->mass * pull, a->v[1] -= dy * b->mass * pull, a->v[2] -= dz * b->mass * pull;
            b->v[0] += dx * a->mass * pull, b->v[1] += dy * a->mass * pull, b->v[2] += dz * a->mass * pull;
        }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].x[k] += step * bodies[i].v[k];
}

/* n thousand steps. */
void nbody(unsigned long n)
{
    /* A sun of mass 4 pi^2 (units: year, distance of the Earth) and five planets on rough circles. */
    static struct body bodies[6] = {
        { { 0, 0, 0 }, { 0, 0, 0 }, 39.478 },
        { { 5.2, 0, 0.1 }, { 0, 2.755, 0 }, 0.0377 },
        { { 0, 9.5, 0.2 }, { -2.038, 0, 0 }, 0.0113 },
        { { -19.2, 0, -0.3 }, { 0, -1.434, 0.01 }, 0.00172 },
        { { 0, -30.1, 0.4 }, { 1.145, 0, -0.01 }, 0.00203 },
        { { 1, 0.01, 0 }, { 0.02, 6.283, 0 }, 0.000119 },
    };
    begin();
    for (unsigned long step = 0; step < 1000 * n; step++)
        advance(bodies, 6, 0.001);
    end(mix(bits(energy(bodies, 6)), bits(bodies[5].x[0])));
}

/* ---- whetstone: after the mix of operations of Curnow and Wichmann's benchmark of 1976, written anew ---- */

static __attribute__((noinline)) void procedure(double *e, double t, double t2)
{
    for (int j = 0; j < 6; j++) {
        e[0] = (e[0] + e[1] + e[2] - e[3]) * t;
        e[1] = (e[0] + e[1] - e[2] + e[3]) * t;
        e[2] = (e[0] - e[1] + e[2] + e[3]) * t;
        e[3] = (-e[0] + e[1] + e[2] + e[3]) / t2;
    }
}

static __attribute__((noinline)) double assign(double x, double y, double t, double t2)
{
    x = t * (x + y);
    y = t * (x + y);
    return (x + y) / t2;
}

void whetstone(unsigned long n)
{
    const double t = 0.499975, t2 = 2.0;
    uint64_t sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        double e[4] = { 1.0, -1.0, -1.0, -1.0 }, x = 0.5, y = 0.5, z = 0.75;
        int k = 1 + round % 3;
        for (int i = 0; i < 14; i++)
            procedure(e, t, t2);
        for (int i = 0; i < 345; i++)
            k = k < 2 ? 2 : k > 2 ? 0 : 1;
        for (int i = 0; i < 32; i++) {
            x = t * atan(t2 * sin(x) * cos(x) / (cos(x + y) + cos(x - y) - 1.0));
            y = t * atan(t2 * sin(y) * cos(y) / (cos(x + y) + cos(x - y) - 1.0));
        }
        for (int i = 0; i < 899; i++)
            e[3] = assign(e[1] + k, e[2], t, t2);
        for (int i = 0; i < 93; i++)
            z = sqrt(exp(log(z) / 0.50025));
        sum = mix(mix(sum, bits(e[3] + x + y)), bits(z));
    }
    end(sum);
}

/* ---- mandelbrot: in float; and a little ray geometry with square roots and divisions ---- */

void mandelbrot(unsigned long n)
{
    enum { WIDTH = 96, HEIGHT = 64, DEPTH = 100 };
    uint64_t sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        float zoom = 1.0f + 0.01f * (round % 100);
        for (int row = 0; row < HEIGHT; row++) {
            unsigned steps = 0;
            float light = 0;
            for (int column = 0; column < WIDTH; column++) {
                float cx = (3.0f * column / WIDTH - 2.0f) * zoom, cy = (2.0f * row / HEIGHT - 1.0f) * zoom;
                float x = 0, y = 0;
                int i = 0;
                for (; i < DEPTH && x * x + y * y < 4.0f; i++) {
                    float next = x * x - y * y + cx;
                    y = 2.0f * x * y + cy;
                    x = next;
                }
                steps += i;
                float square = cx * cx + cy * cy;
                if (square < 1.0f)
                    light += (cx + cy + sqrtf(1.0f - square)) / sqrtf(3.0f + square);
            }
            sum = mix(mix(sum, steps), bits(light));
        }
    }
    end(sum);
}

/* ---- fft: radix 2, in place, 4096 complex doubles, there and back ---- */

enum { POINTS = 4096 };
static double re[POINTS], im[POINTS], cosines[POINTS / 2], sines[POINTS / 2];

static void transform(double direction)
{
    for (unsigned i = 0, j = 0; i < POINTS; i++) {
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i];
            im[i] = im[j], im[j] = t;
        }
        unsigned bit = POINTS / 2;
        while (j & bit)
            j ^= bit, bit /= 2;
        j |= bit;
    }
    for (int half = 1; half < POINTS; half *= 2)
        for (int i = 0; i < POINTS; i += 2 * half)
            for (int k = 0; k < half; k++) {
                double c = cosines[k * (POINTS / 2 / half)], s = direction * sines[k * (POINTS / 2 / half)];
                int a = i + k, b = a + half;
                double x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
                re[b] = re[a] - x, im[b] = im[a] - y;
                re[a] += x, im[a] += y;
            }
}

void fft(unsigned long n)
{
    uint64_t seed = 11, sum = 0;
    for (int i = 0; i < POINTS / 2; i++) {
        cosines[i] = cos(2 * M_PI * i / POINTS);
        sines[i] = sin(2 * M_PI * i / POINTS);
    }
    for (int i = 0; i < POINTS; i++)
        re[i] = (double)(next_random(&seed) >> 40) / (1 << 24);
    begin();
    for (unsigned long round = 0; round < n; round++) {
        transform(-1);
        sum = mix(sum, bits(re[round % POINTS]));
        transform(1);
        for (int i = 0; i < POINTS; i++)
            re[i] /= POINTS, im[i] /= POINTS;
    }
    end(mix(sum, bits(re[1])));
}
