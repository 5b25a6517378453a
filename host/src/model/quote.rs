//! Texts in quotes, as Go writes them into its errors.

use std::fmt::{self, Write};

/// Prints a text as `strconv.Quote` of Go does.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'text>(pub &'text str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(formatter, "\\{character}")?,
                '\u{7}' => formatter.write_str("\\a")?,
                '\u{8}' => formatter.write_str("\\b")?,
                '\t' => formatter.write_str("\\t")?,
                '\n' => formatter.write_str("\\n")?,
                '\u{b}' => formatter.write_str("\\v")?,
                '\u{c}' => formatter.write_str("\\f")?,
                '\r' => formatter.write_str("\\r")?,
                printable if is_printable(printable) => formatter.write_char(printable)?,
                '\0'..='\u{7f}' => write!(formatter, "\\x{:02x}", u32::from(character))?,
                '\0'..='\u{ffff}' => write!(formatter, "\\u{:04x}", u32::from(character))?,
                _ => write!(formatter, "\\U{:08x}", u32::from(character))?,
            }
        }
        formatter.write_char('"')
    }
}

/// `unicode.IsPrint` of Go: letters, marks, numbers, punctuation, symbols and the space.
pub fn is_printable(character: char) -> bool {
    // The standard library has that table behind `str::escape_debug` alone, which lets a mark stand behind another character.
    matches!(character, ' '..='~') || String::from_iter(['a', character]).escape_debug().nth(1) == Some(character)
}
