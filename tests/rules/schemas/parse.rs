//! The part of the schema language that our schemas use; anything else is refused, so that nothing goes unchecked.

use std::collections::BTreeMap;

/// A schema: its types by their names.
#[derive(Debug, Default)]
pub struct Schema {
    pub root: String,
    pub types: BTreeMap<String, Type>,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Type {
    Table(Vec<Field>),
    Struct(Vec<Field>),
    /// The type of its numbers, and its members with theirs.
    Enum(String, Vec<(String, i64)>),
    /// The types of its members; their numbers count from 1.
    Union(Vec<String>),
}

/// A field of a table or a struct.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub of: String,
    pub default: Option<String>,
    pub required: bool,
    pub deprecated: bool,
}

/// What is left to be read: words, numbers and marks, without comments.
struct Tokens(std::vec::IntoIter<String>);

impl Schema {
    /// Reads a schema, or says what is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut schema, mut tokens) = (Self::default(), Tokens::of(text));
        while let Some(word) = tokens.0.next() {
            let name = tokens.word()?;
            let of = match word.as_str() {
                "namespace" => {
                    tokens.expect(";")?;
                    continue;
                }
                "root_type" => {
                    schema.root = name;
                    tokens.expect(";")?;
                    continue;
                }
                "table" => Type::Table(tokens.fields()?),
                "struct" => Type::Struct(tokens.fields()?),
                "enum" => {
                    tokens.expect(":")?;
                    Type::Enum(tokens.word()?, tokens.numbered()?)
                }
                "union" => Type::Union(tokens.members()?.into_iter().map(|(name, _)| name).collect()),
                other => return Err(format!("{other} {name}: not understood")),
            };
            schema.types.insert(name, of);
        }
        Ok(schema)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_.-\"".contains(c)
}

impl Tokens {
    fn of(text: &str) -> Self {
        let mut tokens: Vec<String> = Vec::new();
        for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
            let mut in_word = false;
            for c in line.chars() {
                match tokens.last_mut() {
                    Some(word) if in_word && is_word(c) => word.push(c),
                    _ if c.is_whitespace() => {}
                    _ => tokens.push(c.to_string()),
                }
                in_word = is_word(c);
            }
        }
        Self(tokens.into_iter())
    }

    fn peek(&self) -> &str {
        self.0.as_slice().first().map_or("", String::as_str)
    }

    /// Takes the mark if it is next.
    fn take(&mut self, mark: &str) -> bool {
        let is_next = self.peek() == mark;
        if is_next {
            self.0.next();
        }
        is_next
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        if self.take(mark) { Ok(()) } else { Err(format!("{mark} expected, not {}", self.peek())) }
    }

    fn word(&mut self) -> Result<String, String> {
        let word = self.0.next().filter(|word| word.starts_with(is_word));
        word.ok_or_else(|| format!("a word expected before {}", self.peek()))
    }

    /// A type: a word, or one in brackets.
    fn of_what(&mut self) -> Result<String, String> {
        if !self.take("[") {
            return self.word();
        }
        let of = format!("[{}]", self.word()?);
        self.expect("]")?;
        Ok(of)
    }

    fn fields(&mut self) -> Result<Vec<Field>, String> {
        let mut fields = Vec::new();
        self.expect("{")?;
        while !self.take("}") {
            let name = self.word()?;
            self.expect(":")?;
            let of = self.of_what()?;
            let default = if self.take("=") { Some(self.word()?) } else { None };
            let mut field = Field { name, of, default, required: false, deprecated: false };
            if self.take("(") {
                while !self.take(")") {
                    match self.word()?.as_str() {
                        "required" => field.required = true,
                        "deprecated" => field.deprecated = true,
                        other => return Err(format!("{}: ({other}) is not understood", field.name)),
                    }
                    self.take(",");
                }
            }
            self.expect(";")?;
            fields.push(field);
        }
        Ok(fields)
    }

    /// Members with the numbers that are written behind them.
    fn members(&mut self) -> Result<Vec<(String, Option<String>)>, String> {
        let mut members = Vec::new();
        self.expect("{")?;
        while !self.take("}") {
            let name = self.word()?;
            let number = if self.take("=") { Some(self.word()?) } else { None };
            members.push((name, number));
            if self.peek() != "}" {
                self.expect(",")?;
            }
        }
        Ok(members)
    }

    /// Members with their numbers: one more than the one before, where none is written.
    fn numbered(&mut self) -> Result<Vec<(String, i64)>, String> {
        let mut next = 0;
        let number = |(name, written): (String, Option<String>)| {
            let number =
                written.map_or(Ok(next), |text| text.parse().map_err(|_| format!("{name}: {text} is no number")))?;
            next = number + 1;
            Ok((name, number))
        };
        self.members()?.into_iter().map(number).collect()
    }
}
