//! Text to requirements: the grammar at `Parse` in k8s.io/apimachinery `pkg/labels/selector.go`, with its error texts. Keys are
//! validated here, because Go names a bad key before it looks at what follows; values are left to [`super::validate`].

use super::{InvalidSelector, Operator, Requirement, validate};

/// The binary operators as Go lists them in its error text.
const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// The requirements in `text`, in the order in which they are written.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, InvalidSelector> {
    let mut parser = Parser { tokens: Lexer { rest: text }, peeked: None };
    let mut requirements = Vec::new();
    if parser.peek() == Token::End {
        return Ok(requirements);
    }
    if !parser.peek().starts_requirement() {
        return refuse(format!("found '{}', expected: !, identifier, or 'end of string'", parser.peek().literal()));
    }
    loop {
        let requirement = parser
            .requirement()
            .map_err(|InvalidSelector(cause)| InvalidSelector(format!("unable to parse requirement: {cause}")))?;
        requirements.push(requirement);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") if parser.peek().starts_requirement() => {}
            Token::Symbol(",") => {
                return refuse(format!("found '{}', expected: identifier after ','", parser.peek().literal()));
            }
            other => return refuse(format!("found '{}', expected: ',' or 'end of string'", other.literal())),
        }
    }
}

fn refuse<T>(message: String) -> Result<T, InvalidSelector> {
    Err(InvalidSelector(message))
}

/// `in` and `notin` are words like others; whether one is an operator depends on where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'text> {
    Word(&'text str),
    Symbol(&'text str),
    End,
}

impl<'text> Token<'text> {
    fn literal(self) -> &'text str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }

    fn starts_requirement(self) -> bool {
        matches!(self, Self::Word(_) | Self::Symbol("!"))
    }
}

struct Lexer<'text> {
    rest: &'text str,
}

impl<'text> Lexer<'text> {
    fn next(&mut self) -> Token<'text> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let symbol =
            ["==", "!=", "=", "!", "(", ")", ",", ">", "<"].iter().find(|symbol| self.rest.starts_with(**symbol));
        let length = match symbol {
            Some(symbol) => symbol.len(),
            None => self.rest.find(|character: char| "=!(),>< \t\r\n".contains(character)).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        match (token, symbol) {
            ("", _) => Token::End,
            (token, Some(_)) => Token::Symbol(token),
            (token, None) => Token::Word(token),
        }
    }
}

struct Parser<'text> {
    tokens: Lexer<'text>,
    peeked: Option<Token<'text>>,
}

impl<'text> Parser<'text> {
    fn peek(&mut self) -> Token<'text> {
        *self.peeked.get_or_insert_with(|| self.tokens.next())
    }

    fn next(&mut self) -> Token<'text> {
        self.peeked.take().unwrap_or_else(|| self.tokens.next())
    }

    fn requirement(&mut self) -> Result<Requirement, InvalidSelector> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return refuse(format!("found '{}', expected: identifier", other.literal())),
        };
        validate::key(key)?;
        let (operator, values) = if absent {
            (Operator::DoesNotExist, Vec::new())
        } else if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            (Operator::Exists, Vec::new())
        } else {
            self.comparison()?
        };
        // Validated here as well as in `Selector::new`, so that its error has the prefix that Go's has.
        let mut requirement = Requirement { key: key.to_owned(), operator, values };
        requirement.values.sort();
        requirement.values.dedup();
        validate::requirement(&requirement)?;
        Ok(requirement)
    }

    fn comparison(&mut self) -> Result<(Operator, Vec<String>), InvalidSelector> {
        Ok(match self.next() {
            Token::Word("in") => (Operator::In, self.set()?),
            Token::Word("notin") => (Operator::NotIn, self.set()?),
            Token::Symbol("=" | "==") => (Operator::In, self.exact()?),
            Token::Symbol("!=") => (Operator::NotIn, self.exact()?),
            Token::Symbol(">") => (Operator::GreaterThan, self.exact()?),
            Token::Symbol("<") => (Operator::LessThan, self.exact()?),
            other => return refuse(format!("found '{}', expected: {BINARY_OPERATORS}", other.literal())),
        })
    }

    fn exact(&mut self) -> Result<Vec<String>, InvalidSelector> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(vec![String::new()]);
        }
        match self.next() {
            Token::Word(value) => Ok(vec![value.to_owned()]),
            other => refuse(format!("found '{}', expected: identifier", other.literal())),
        }
    }

    /// `(a,b)`. An empty place between commas is the empty value, and so is `()`.
    fn set(&mut self) -> Result<Vec<String>, InvalidSelector> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return refuse(format!("found '{}' expected: '('", other.literal())),
        }
        if !matches!(self.peek(), Token::Word(_) | Token::Symbol("," | ")")) {
            return refuse(format!("found '{}', expected: ',', ')' or identifier", self.peek().literal()));
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.next();
                    values.push(value.to_owned());
                }
                Token::Symbol("," | ")") => values.push(String::new()),
                other => return refuse(format!("found '{}', expected: ',', or identifier", other.literal())),
            }
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return refuse(format!("found '{}', expected: ',' or ')'", other.literal())),
            }
        }
    }
}
