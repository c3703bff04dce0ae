//! PLAIN: user and password in one message (RFC 4616).

use super::{Credentials, Message};

#[derive(Debug)]
pub(super) struct Plain {
    credentials: Credentials,
}

impl Plain {
    pub(super) const fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }

    /// Without an identity to act as: the user's own.
    pub(super) fn start(&self) -> Message {
        let (username, password) =
            (self.credentials.username.expose(), self.credentials.password.expose());
        // Of the right size at once: what a growing buffer leaves behind is not overwritten.
        let mut message = Vec::with_capacity(username.len() + password.len() + 2);
        for field in [username, password] {
            message.push(0);
            message.extend_from_slice(field.as_bytes());
        }
        Message::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::credentials;
    use super::*;

    #[test]
    fn user_and_password_follow_an_empty_identity() {
        // RFC 4616, section 4.
        let plain = Plain::new(credentials("tim", "tanstaaftanstaaf"));
        assert_eq!(plain.start().expose(), b"\0tim\0tanstaaftanstaaf");
    }
}
