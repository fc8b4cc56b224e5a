//! Conditions of rows: parsing, evaluation, Rust text.

use crate::Field;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Int(u32),
    Field(String),
    BitAnd(Box<Expr>, Box<Expr>),
    Compare(&'static str, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
}

const OPERATORS: [&str; 12] = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "&", "(", ")"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Op(&'static str),
    Word(String),
}

/// Parses a condition; the result is a truth value over `fields`.
pub(crate) fn parse(text: &str, fields: &[Field]) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, fields };
    let e = parser.or()?;
    match parser.peek() {
        None => truth(e),
        Some(token) => Err(format!("unexpected {token:?} in the condition")),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let len = if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            found.push(Token::Op(op));
            op.len()
        } else if c.is_ascii_alphanumeric() {
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Token::Word(rest[..len].to_owned()));
            len
        } else {
            return Err(format!("unexpected `{c}` in the condition"));
        };
        rest = rest[len..].trim_start();
    }
    Ok(found)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    fields: &'a [Field],
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn accept(&mut self, ops: &[&'static str]) -> Option<&'static str> {
        match self.peek() {
            Some(Token::Op(op)) if ops.contains(op) => {
                let op = *op;
                self.next += 1;
                Some(op)
            }
            _ => None,
        }
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut e = self.and()?;
        while self.accept(&["||"]).is_some() {
            e = Expr::Or(Box::new(truth(e)?), Box::new(truth(self.and()?)?));
        }
        Ok(e)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut e = self.comparison()?;
        while self.accept(&["&&"]).is_some() {
            e = Expr::And(Box::new(truth(e)?), Box::new(truth(self.comparison()?)?));
        }
        Ok(e)
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.bit_and()?;
        match self.accept(&["==", "!=", "<=", ">=", "<", ">"]) {
            Some(op) => Ok(Expr::Compare(op, Box::new(number(left)?), Box::new(number(self.bit_and()?)?))),
            None => Ok(left),
        }
    }

    fn bit_and(&mut self) -> Result<Expr, String> {
        let mut e = self.unary()?;
        while self.accept(&["&"]).is_some() {
            e = Expr::BitAnd(Box::new(number(e)?), Box::new(number(self.unary()?)?));
        }
        Ok(e)
    }

    fn unary(&mut self) -> Result<Expr, String> {
        if self.accept(&["!"]).is_some() {
            return Ok(Expr::Not(Box::new(truth(self.unary()?)?)));
        }
        if self.accept(&["("]).is_some() {
            let e = self.or()?;
            return self.accept(&[")"]).map(|_| e).ok_or_else(|| "missing `)` in the condition".to_owned());
        }
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return Err("a field or a number is missing in the condition".to_owned());
        };
        self.next += 1;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let (digits, radix) = match (word.strip_prefix("0b"), word.strip_prefix("0x")) {
                (Some(digits), _) => (digits, 2),
                (_, Some(digits)) => (digits, 16),
                _ => (word.as_str(), 10),
            };
            return u32::from_str_radix(&digits.replace('_', ""), radix)
                .map(Expr::Int)
                .map_err(|e| format!("`{word}` in the condition: {e}"));
        }
        if self.fields.iter().any(|f| f.name == word) {
            Ok(Expr::Field(word))
        } else {
            Err(format!("the condition names `{word}`, which is no field of the row"))
        }
    }
}

fn is_number(e: &Expr) -> bool {
    matches!(e, Expr::Int(_) | Expr::Field(_) | Expr::BitAnd(..))
}

fn truth(e: Expr) -> Result<Expr, String> {
    if is_number(&e) { Err("a number stands where the condition needs a comparison".to_owned()) } else { Ok(e) }
}

fn number(e: Expr) -> Result<Expr, String> {
    if is_number(&e) { Ok(e) } else { Err("a comparison stands where the condition needs a number".to_owned()) }
}

impl Expr {
    /// The condition's value for `word`; numbers are themselves, truth is 1.
    pub(crate) fn eval(&self, word: u32, fields: &[Field]) -> u32 {
        match self {
            Expr::Int(n) => *n,
            Expr::Field(name) => fields.iter().find(|f| f.name == *name).map_or(0, |f| f.extract(word)),
            Expr::BitAnd(a, b) => a.eval(word, fields) & b.eval(word, fields),
            Expr::Compare(op, a, b) => {
                let (a, b) = (a.eval(word, fields), b.eval(word, fields));
                u32::from(match *op {
                    "==" => a == b,
                    "!=" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                })
            }
            Expr::And(a, b) => a.eval(word, fields) & b.eval(word, fields),
            Expr::Or(a, b) => a.eval(word, fields) | b.eval(word, fields),
            Expr::Not(a) => 1 ^ a.eval(word, fields),
        }
    }

    /// The bits of the word on which the condition depends.
    pub(crate) fn bits(&self, fields: &[Field]) -> u32 {
        match self {
            Expr::Int(_) => 0,
            Expr::Field(name) => fields.iter().find(|f| f.name == *name).map_or(0, Field::bits),
            Expr::BitAnd(a, b) => match (&**a, &**b) {
                (Expr::Field(name), Expr::Int(n)) | (Expr::Int(n), Expr::Field(name)) => {
                    fields.iter().find(|f| f.name == *name).map_or(0, |f| f.bits() & (n & f.ones()) << f.pos)
                }
                _ => a.bits(fields) | b.bits(fields),
            },
            Expr::Compare(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => a.bits(fields) | b.bits(fields),
            Expr::Not(a) => a.bits(fields),
        }
    }

    /// Splits off the conjuncts that fix bits of a field (`size == 1`, `rs & 1 == 0`): (mask, value) and what remains.
    pub(crate) fn hoist(self, fields: &[Field]) -> Result<(u32, u32, Option<Expr>), String> {
        if let Expr::And(a, b) = self {
            let (mask_a, value_a, a) = a.hoist(fields)?;
            let (mask_b, value_b, b) = b.hoist(fields)?;
            if (value_a ^ value_b) & mask_a & mask_b != 0 {
                return Err("the condition can never be true".to_owned());
            }
            let rest = match (a, b) {
                (Some(a), Some(b)) => Some(Expr::And(Box::new(a), Box::new(b))),
                (a, b) => a.or(b),
            };
            return Ok((mask_a | mask_b, value_a | value_b, rest));
        }
        if let Expr::Compare("==", left, right) = &self {
            let fixed = match (&**left, &**right) {
                (Expr::Field(name), Expr::Int(n)) => Some((name, u32::MAX, *n)),
                (Expr::BitAnd(a, b), Expr::Int(n)) => match (&**a, &**b) {
                    (Expr::Field(name), Expr::Int(m)) => Some((name, *m, *n)),
                    _ => None,
                },
                _ => None,
            };
            if let Some((field, (mask, n))) =
                fixed.and_then(|(name, m, n)| Some((fields.iter().find(|f| f.name == *name)?, (m, n))))
            {
                let ones = field.ones();
                if field.constant.is_some() {
                    return Err(format!("field `{}` is constant: the condition needs no test of it", field.name));
                }
                if n & !(ones & mask) != 0 {
                    return Err(format!("{n:#x} is no value of field `{}`", field.name));
                }
                return Ok(((mask & ones) << field.pos, n << field.pos, None));
            }
        }
        Ok((0, 0, Some(self)))
    }

    /// The condition as Rust text over the variable `word`, fields widened to `u32`.
    pub(crate) fn rust(&self, fields: &[Field], wide: &str) -> String {
        match self {
            Expr::Int(n) => format!("{n:#x}"),
            Expr::Field(name) => {
                fields.iter().find(|f| f.name == *name).map_or_else(String::new, |f| f.rust_number(wide))
            }
            Expr::BitAnd(a, b) => format!("({} & {})", a.rust(fields, wide), b.rust(fields, wide)),
            Expr::Compare(op, a, b) => format!("({} {op} {})", a.rust(fields, wide), b.rust(fields, wide)),
            Expr::And(a, b) => format!("({} && {})", a.rust(fields, wide), b.rust(fields, wide)),
            Expr::Or(a, b) => format!("({} || {})", a.rust(fields, wide), b.rust(fields, wide)),
            Expr::Not(a) => format!("!{}", a.rust(fields, wide)),
        }
    }
}

impl Field {
    fn ones(&self) -> u32 {
        u32::MAX >> (32 - self.width)
    }

    /// The field's bits in the word: none if it is constant.
    pub(crate) fn bits(&self) -> u32 {
        if self.constant.is_some() { 0 } else { self.ones() << self.pos }
    }

    pub(crate) fn extract(&self, word: u32) -> u32 {
        self.constant.unwrap_or((word & self.bits()) >> self.pos)
    }

    /// `(word >> pos & ones)`, with `wide` naming the word as a `u32`.
    pub(crate) fn rust_number(&self, wide: &str) -> String {
        let ones = self.ones();
        if let Some(value) = self.constant {
            return format!("{value:#x}");
        }
        if self.pos == 0 { format!("({wide} & {ones:#x})") } else { format!("({wide} >> {} & {ones:#x})", self.pos) }
    }
}
