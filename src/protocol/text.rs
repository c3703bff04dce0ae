//! Texts of a peer that people will see, or that will be looked up.
//!
//! A broker may say anything, at any length. What it says ends in errors and logs, where a line
//! break would begin a line of its own, and a terminal would obey what it is told.

/// Characters of a peer's words that are repeated.
pub(crate) const WORDS_MAX: usize = 300;

/// The longest name of a host in bytes (RFC 1035, with room for a zone of IPv6).
const HOST_SIZE_MAX: usize = 255;

/// Foreign words as far as they can be shown, in `chars_max` characters at most.
pub(crate) fn printable(words: &str, chars_max: usize) -> String {
    words.chars().map(|c| if c.is_control() { '?' } else { c }).take(chars_max).collect()
}

/// Whether a host may have this name, as far as that can be said without looking it up.
pub(crate) fn may_be_host(name: &str) -> bool {
    name.len() <= HOST_SIZE_MAX && !name.contains(|c: char| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_without_what_a_terminal_would_obey() {
        assert_eq!(printable("no\u{1b}[2J\nway", 6), "no?[2J");
        assert_eq!(printable("nein, gar nichts, überhaupt", 100), "nein, gar nichts, überhaupt");
    }

    #[test]
    fn hosts_are_short_and_of_one_word() {
        let long = "a".repeat(256);
        for (name, expected) in [
            ("b1.kafka.internal", true),
            ("fe80::1%eth0", true),
            (&long[..255], true),
            (&long[..], false),
            ("b1\nINFO all is well", false),
            ("two words", false),
            ("b1\u{9b}2J", false),
        ] {
            assert_eq!(may_be_host(name), expected, "{name:?}");
        }
    }
}
