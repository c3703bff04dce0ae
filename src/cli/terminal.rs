//! What a person's terminal can show.

use std::io::{IsTerminal, Write as _};

/// Styles of text; empty where there is no terminal to show them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    enabled: bool,
}

impl Style {
    /// For standard output: styled on a terminal, unless `NO_COLOR` is set
    /// (<https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { enabled: wanted && is_terminal(&std::io::stdout()) }
    }

    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { enabled: false };

    pub(super) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes a line to standard output. If nobody reads it any more, as in `ottla demo | head`, that is
/// no reason to end, let alone to panic as `println!` does.
pub(super) fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

pub(super) fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
}

/// `text` without what a terminal would obey: control characters become `\u{..}` escapes.
pub(super) fn harmless(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_stranger_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\u{9b}c\n"), "a\\u{1b}[2Jb\\u{9b}c\\n");
        assert_eq!(harmless("Grüße"), "Grüße");
    }
}
