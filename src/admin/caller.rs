//! Who asks, and whether he may change something. On the socket the kernel says whose process it is:
//! this user's and root's may. Over HTTP anybody may read; who knows the token may change.

use super::token::Token;
use std::net::SocketAddr;

/// Whoever is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    /// A process of this machine.
    Socket {
        /// Its user.
        uid: u32,
        /// Its number, where the kernel knows it.
        pid: Option<i32>,
    },
    /// Anybody.
    Http(SocketAddr),
}

/// What he may, and how he is called in the audit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) who: String,
    pub(super) from: String,
    /// Why he may not change anything; `None`: he may.
    pub(super) refused: Option<&'static str>,
}

impl Caller {
    /// What he may who gives this token, or none.
    pub(super) fn authority(
        self,
        own_uid: u32,
        token: Option<&Token>,
        given: Option<&[u8]>,
    ) -> Authority {
        match self {
            Self::Socket { uid, pid } => {
                let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                let refused = (uid != 0 && uid != own_uid)
                    .then_some("only the user who runs the switch, and root, may change it");
                Authority { who: format!("uid {uid}"), from: format!("socket, pid {pid}"), refused }
            }
            Self::Http(address) => {
                let (who, refused) = match (token, given) {
                    (None, _) => ("nobody", Some("http is read only: no token_file is configured")),
                    (Some(_), None) => {
                        ("nobody", Some("a token is needed: Authorization: Bearer TOKEN"))
                    }
                    (Some(token), Some(given)) if token.is(given) => ("token", None),
                    (Some(_), Some(_)) => ("nobody", Some("this is not the token")),
                };
                Authority { who: who.to_owned(), from: format!("http {address}"), refused }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_user_and_root_may_change_on_the_socket() {
        for (uid, may) in [(1_000, true), (0, true), (1_001, false), (65_534, false)] {
            let authority = Caller::Socket { uid, pid: Some(7) }.authority(1_000, None, None);
            assert_eq!(authority.refused.is_none(), may, "{uid}");
            assert_eq!(authority.who, format!("uid {uid}"));
        }
        // Root's switch is not every user's.
        assert!(Caller::Socket { uid: 5, pid: None }.authority(0, None, None).refused.is_some());
    }

    #[test]
    fn the_token_may_change_over_http() {
        let token = Token::of(b"0123456789abcdef");
        let caller = Caller::Http(([127, 0, 0, 1], 5).into());
        let refused = |token, given| caller.authority(0, token, given).refused;
        assert!(refused(None, None).is_some_and(|why| why.contains("read only")));
        assert!(refused(None, Some(b"0123456789abcdef")).is_some());
        assert!(refused(Some(&token), None).is_some_and(|why| why.contains("is needed")));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdeF", b"0123456789abcdef0"] {
            assert_eq!(refused(Some(&token), Some(wrong)), Some("this is not the token"));
        }
        assert_eq!(refused(Some(&token), Some(b"0123456789abcdef")), None);
    }
}
