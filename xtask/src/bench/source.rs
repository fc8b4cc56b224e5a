//! A big C file for the compiler's row: functions of different shapes, always the same ones.

/// Text of the file, with this many functions.
pub fn big(functions: u64) -> String {
    let mut text = String::from(
        "typedef unsigned long word;\nstruct item { struct item *next; word key; int kind; double weight; char name[24]; };\n\
         extern void *allocate(word);\nextern int print(const char *, ...);\nstatic word table[1024];\n",
    );
    let mut state = 99;
    for index in 0..functions {
        let numbers: [u64; 6] = std::array::from_fn(|_| random(&mut state));
        text += &function(index, numbers);
    }
    text
}

/// One function; it calls the one before.
fn function(index: u64, [a, b, c, d, e, f]: [u64; 6]) -> String {
    let (a, b, c) = (a % 61 + 2, b % 900 + 3, c % 17 + 1);
    let before = match index {
        0 => format!("y + {a}"),
        _ => format!("f{}(x ^ {b}, y + {c}, list)", index - 1),
    };
    match index % 4 {
        0 => format!(
            "word f{index}(word x, word y, struct item *list)\n{{\n    word sum = y;\n    for (struct item *i = list; i; i = i->next) {{\n        \
             switch (i->kind % {a}) {{\n        case 0: sum += i->key * {b}; break;\n        case 1: sum ^= i->key >> {c}; break;\n        \
             case {d}: i->weight *= 1.0 + sum % {b}; break;\n        case {e}: if (i->name[sum % 24] == 'x') return sum; break;\n        \
             default: i->kind += {f}; sum = sum << 3 | sum >> 61;\n        }}\n        table[sum % 1024] += i->key;\n    }}\n    \
             if (x > {b})\n        sum += {before};\n    return sum;\n}}\n",
            d = d % 50 + 2,
            e = e % 50 + 60,
            f = f % 9,
        ),
        1 => format!(
            "word f{index}(word x, word y, struct item *list)\n{{\n    word local[{size}];\n    for (int i = 0; i < {size}; i++)\n        \
             local[i] = table[(x + i * {b}) % 1024] * {c} + (y >> (i % 31));\n    for (int i = 1; i < {size}; i++)\n        \
             for (int j = i; j > 0 && local[j - 1] > local[j]; j--) {{\n            word t = local[j];\n            \
             local[j] = local[j - 1];\n            local[j - 1] = t;\n        }}\n    word sum = local[x % {size}];\n    \
             while (sum > {b} && sum % {d})\n        sum = sum & 1 ? sum * 3 + {e} : sum / 2 - local[sum % {size}] % 2;\n    \
             return sum + {before};\n}}\n",
            size = a + 8,
            d = d % 9 + 3,
            e = e % 100,
        ),
        2 => format!(
            "static inline double g{index}(double u, double v, int n)\n{{\n    double s = {a}.5;\n    for (int i = 0; i < n; i++)\n        \
             s = s * u + v / (i + {c}.0);\n    return s > {b} ? s - {b} : s;\n}}\nword f{index}(word x, word y, struct item *list)\n{{\n    \
             double total = 0;\n    for (struct item *i = list; i; i = i->next) {{\n        double w = g{index}(i->weight, total, x % {a});\n        \
             if (w < {d}.25 && i->key != {e})\n            total += w;\n        else if (w > {b} || y & {f})\n            \
             total -= g{index}(w, {c}.125, 5);\n        else\n            i->weight = total;\n    }}\n    \
             return (word)total + {before};\n}}\n",
            d = d % 500,
            e = e % 1000,
            f = f % 64,
        ),
        _ => format!(
            "word f{index}(word x, word y, struct item *list)\n{{\n    struct item *new = allocate(sizeof *new * {a});\n    word n = 0;\n    \
             for (int i = 0; i < {a}; i++) {{\n        new[i].next = i + 1 < {a} ? &new[i + 1] : list;\n        new[i].key = x * {b} + i;\n        \
             new[i].kind = (int)(y >> {c}) & {d};\n        for (int k = 0; k < 24; k++)\n            \
             new[i].name[k] = k < {c} ? \"0123456789abcdefghij\"[(x >> k) % 20] : 0;\n        if (new[i].kind == {e} || !list)\n            \
             n += print(\"%lu of %s: %d\\n\", new[i].key, new[i].name, {f});\n        else if (new[i].key > table[i])\n            \
             table[i] = list->key;\n    }}\n    return n ? n * {before} : x;\n}}\n",
            d = d % 255 + 1,
            e = e % 255,
            f = f % 1000,
        ),
    }
}

/// A linear congruential generator's upper bits.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_there_and_the_text_is_always_the_same() {
        let text = big(40);
        assert_eq!(text, big(40));
        for index in 0..40 {
            assert!(text.contains(&format!("word f{index}(")), "f{index}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(big(80).starts_with(&text));
    }
}
