/* Integer arithmetic and control flow. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* ---- coremix: lists, small matrices, a state machine over text, a CRC ---- */

struct node {
    struct node *next;
    int16_t key, data;
};

static uint16_t crc16(uint16_t crc, uint32_t value)
{
    for (int i = 0; i < 32; i++) {
        uint16_t carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry)
            crc ^= 0xa001;
    }
    return crc;
}

static struct node *merge(struct node *a, struct node *b, int by_key)
{
    struct node head, *tail = &head;
    while (a && b) {
        int first = by_key ? a->key <= b->key : a->data <= b->data;
        struct node **from = first ? &a : &b;
        tail = tail->next = *from;
        *from = (*from)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct node *sort_list(struct node *list, int length, int by_key)
{
    if (length < 2) {
        if (list)
            list->next = NULL;
        return list;
    }
    struct node *middle = list;
    for (int i = 0; i < length / 2; i++)
        middle = middle->next;
    struct node *right = sort_list(middle, length - length / 2, by_key);
    struct node *before = list;
    for (int i = 1; i < length / 2; i++)
        before = before->next;
    before->next = NULL;
    return merge(sort_list(list, length / 2, by_key), right, by_key);
}

static uint16_t lists(struct node *nodes, int count, unsigned round, uint16_t crc)
{
    uint64_t seed = round;
    for (int i = 0; i < count; i++) {
        nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
        nodes[i].key = next_random(&seed) & 0x7fff;
        nodes[i].data = i;
    }
    struct node *list = sort_list(nodes, count, 1);
    for (int wanted = 0; wanted < 16; wanted++) {
        struct node *at = list;
        while (at && (at->data & 15) != wanted)
            at = at->next;
        if (at)
            crc = crc16(crc, at->key);
    }
    struct node *reversed = NULL;
    for (struct node *next; list; list = next) {
        next = list->next;
        list->next = reversed;
        reversed = list;
    }
    list = sort_list(reversed, count, 0);
    for (struct node *at = list; at; at = at->next)
        crc = crc16(crc, at->key);
    return crc;
}

enum { SIDE = 24 };

static uint16_t matrices(int16_t a[SIDE][SIDE], int16_t b[SIDE][SIDE], unsigned round, uint16_t crc)
{
    int32_t sum = 0;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            a[i][j] = i * 7 + j * 3 + round;
            b[i][j] = i - j * 5 + round;
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int32_t cell = 0;
            for (int k = 0; k < SIDE; k++)
                cell += a[i][k] * b[k][j];
            sum += (cell >> 3) & 0xff;
            if (cell > 1000)
                sum ^= cell;
        }
    return crc16(crc, sum);
}

static uint16_t numbers(const char *text, uint16_t crc)
{
    enum { START, SIGN, DIGITS, POINT, FRACTION, EXPONENT, BAD } state = START;
    unsigned seen[BAD + 1] = { 0 };
    for (; *text; text++) {
        char c = *text;
        if (c == ',') {
            seen[state]++;
            state = START;
            continue;
        }
        switch (state) {
        case START:
            state = c == '-' || c == '+' ? SIGN : c >= '0' && c <= '9' ? DIGITS : c == '.' ? POINT : BAD;
            break;
        case SIGN:
            state = c >= '0' && c <= '9' ? DIGITS : c == '.' ? POINT : BAD;
            break;
        case DIGITS:
            if (c < '0' || c > '9')
                state = c == '.' ? FRACTION : c == 'e' ? EXPONENT : BAD;
            break;
        case POINT:
            state = c >= '0' && c <= '9' ? FRACTION : BAD;
            break;
        case FRACTION:
            if (c < '0' || c > '9')
                state = c == 'e' ? EXPONENT : BAD;
            break;
        case EXPONENT:
            if ((c < '0' || c > '9') && c != '-')
                state = BAD;
            break;
        case BAD:
            break;
        }
    }
    for (int i = 0; i <= BAD; i++)
        crc = crc16(crc, seen[i]);
    return crc;
}

void coremix(unsigned long n)
{
    static struct node nodes[400];
    static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
    static char text[2048];
    uint64_t seed = 1;
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = "0123456789,,+-.e,5,x"[next_random(&seed) % 20];
    uint16_t crc = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        crc = lists(nodes, 400, round, crc);
        crc = matrices(a, b, round, crc);
        crc = numbers(text, crc);
    }
    end(crc);
}

/* ---- calls: recursion and small functions that are not inlined ---- */

static __attribute__((noinline)) unsigned fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static __attribute__((noinline)) int takeuchi(int x, int y, int z)
{
    return y >= x ? z : takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

static __attribute__((noinline)) unsigned leaf(unsigned x, unsigned y)
{
    return (x ^ y) + (y >> 3);
}

static __attribute__((noinline)) unsigned twice(unsigned x, unsigned y)
{
    return leaf(x, y) + leaf(y, x + 1);
}

void calls(unsigned long n)
{
    uint64_t sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        sum = mix(sum, fibonacci(18 + round % 3));
        sum = mix(sum, takeuchi(10, 6, 2 + round % 2));
        unsigned x = round;
        for (int i = 0; i < 4000; i++)
            x = twice(x, i);
        sum = mix(sum, x);
    }
    end(sum);
}

/* ---- indirect: calls through tables of functions, as of objects with methods ---- */

struct shape {
    const struct methods *methods;
    unsigned a, b;
};

struct methods {
    unsigned (*area)(const struct shape *);
    void (*grow)(struct shape *, unsigned);
};

static unsigned square_area(const struct shape *s) { return s->a * s->a; }
static unsigned box_area(const struct shape *s) { return s->a * s->b; }
static unsigned triangle_area(const struct shape *s) { return s->a * s->b / 2; }
static unsigned ring_area(const struct shape *s) { return 3 * (s->a * s->a - s->b * s->b); }
static void grow_both(struct shape *s, unsigned by) { s->a += by; s->b += by; }
static void grow_one(struct shape *s, unsigned by) { s->a = (s->a ^ by) & 0xfff; }

static const struct methods kinds[] = {
    { square_area, grow_one }, { box_area, grow_both }, { triangle_area, grow_both }, { ring_area, grow_one },
};

void indirect(unsigned long n)
{
    enum { COUNT = 1000 };
    static struct shape shapes[COUNT];
    uint64_t seed = 7, sum = 0;
    for (int i = 0; i < COUNT; i++) {
        shapes[i].methods = &kinds[next_random(&seed) % 4];
        shapes[i].a = i;
        shapes[i].b = i / 2;
    }
    begin();
    for (unsigned long round = 0; round < n; round++) {
        unsigned area = 0;
        for (int i = 0; i < COUNT; i++) {
            area += shapes[i].methods->area(&shapes[i]);
            shapes[i].methods->grow(&shapes[i], area & 7);
        }
        sum = mix(sum, area);
    }
    end(sum);
}

/* ---- qsort: the C library's, with its calls of a comparison ---- */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void sorting(unsigned long n)
{
    enum { COUNT = 20000 };
    static uint32_t values[COUNT];
    uint64_t seed = 3, sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        for (int i = 0; i < COUNT; i++)
            values[i] = next_random(&seed);
        qsort(values, COUNT, sizeof *values, compare);
        for (int i = 0; i < COUNT; i += 100)
            sum = mix(sum, values[i]);
    }
    end(sum);
}

/* ---- interp: an interpreter of a bytecode for a stackless register machine ---- */

enum operation { ADD, SUB, MUL, ADDI, SHR, AND, LOAD, STORE, LESS, JUMP, JUMP_IF, JUMP_UNLESS, HALT };

struct instruction {
    uint8_t operation, a, b, c;
    int16_t immediate;
};

static uint64_t interpret(const struct instruction *code, uint64_t *r, uint8_t *memory, size_t mask)
{
    for (const struct instruction *pc = code;; pc++) {
        switch ((enum operation)pc->operation) {
        case ADD: r[pc->a] = r[pc->b] + r[pc->c]; break;
        case SUB: r[pc->a] = r[pc->b] - r[pc->c]; break;
        case MUL: r[pc->a] = r[pc->b] * r[pc->c]; break;
        case ADDI: r[pc->a] = r[pc->b] + pc->immediate; break;
        case SHR: r[pc->a] = r[pc->b] >> pc->immediate; break;
        case AND: r[pc->a] = r[pc->b] & pc->immediate; break;
        case LOAD: r[pc->a] = memory[r[pc->b] & mask]; break;
        case STORE: memory[r[pc->b] & mask] = r[pc->a]; break;
        case LESS: r[pc->a] = r[pc->b] < r[pc->c]; break;
        case JUMP: pc += pc->immediate; break;
        case JUMP_IF: if (r[pc->a]) pc += pc->immediate; break;
        case JUMP_UNLESS: if (!r[pc->a]) pc += pc->immediate; break;
        case HALT: return r[0];
        }
    }
}

/* Counts primes below r1 with a sieve in memory, then adds the lengths of Collatz sequences below r2. Jumps count from
 * the instruction after them. */
static const struct instruction program[] = {
    { ADDI, 3, 15, 0, 2 },                               /*  0 i = 2 */
    { LOAD, 4, 3 }, { JUMP_IF, 4, 0, 0, 7 },             /*  1 if (!composite[i]) { */
    { ADDI, 0, 0, 0, 1 },                                /*  3   count++ */
    { ADD, 5, 3, 3 },                                    /*  4   j = 2 i */
    { LESS, 4, 5, 1 }, { JUMP_UNLESS, 4, 0, 0, 3 },      /*  5   while (j < r1) { */
    { STORE, 14, 5 }, { ADD, 5, 5, 3 }, { JUMP, 0, 0, 0, -5 }, /* 7   composite[j] = 1; j += i } */
    { ADDI, 3, 3, 0, 1 }, { LESS, 4, 3, 1 }, { JUMP_IF, 4, 0, 0, -12 }, /* 10 while (++i < r1) */
    { ADDI, 3, 15, 0, 1 },                               /* 13 i = 1 */
    { ADDI, 5, 3, 0, 0 },                                /* 14 x = i */
    { SUB, 4, 5, 14 }, { JUMP_UNLESS, 4, 0, 0, 8 },      /* 15 while (x != 1) { */
    { ADDI, 0, 0, 0, 1 },                                /* 17   count++ */
    { AND, 4, 5, 0, 1 }, { JUMP_IF, 4, 0, 0, 2 },        /* 18   if (x even) */
    { SHR, 5, 5, 0, 1 }, { JUMP, 0, 0, 0, -7 },          /* 20     x /= 2 */
    { MUL, 5, 5, 13 }, { ADDI, 5, 5, 0, 1 }, { JUMP, 0, 0, 0, -10 }, /* 22 else x = 3 x + 1 } */
    { ADDI, 3, 3, 0, 1 }, { LESS, 4, 3, 2 }, { JUMP_IF, 4, 0, 0, -14 }, /* 25 while (++i < r2) */
    { HALT },
};

void interp(unsigned long n)
{
    static uint8_t memory[8192];
    uint64_t sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        uint64_t r[16] = { [1] = 8000, [2] = 100 + round % 50, [13] = 3, [14] = 1 };
        memset(memory, 0, sizeof memory);
        sum = mix(sum, interpret(program, r, memory, sizeof memory - 1));
    }
    end(sum);
}
