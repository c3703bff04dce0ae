//! Keys that were derived before.
//!
//! A login takes milliseconds to a second of computing, and a cluster that comes back has every
//! client log in to every broker at once. All brokers share salt and iterations, so one
//! derivation does for all of them.

use super::scram::{Derivation, SaltedPassword};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys that are kept: of a few users, or of one whose password was rotated.
const KEPT_MAX: usize = 4;

/// The results of the last few derivations, shared by all that log in with the same settings.
#[derive(Clone, Default)]
pub struct SaltedPasswords(Arc<Mutex<Vec<(Derivation, SaltedPassword)>>>);

impl SaltedPasswords {
    /// The result, computed now if it was not before. Others wait meanwhile, and find it then.
    ///
    /// Blocks for as long as [`Derivation::run`] takes.
    pub fn derive(&self, derivation: &Derivation) -> SaltedPassword {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, salted)) = kept.iter().find(|(known, _)| known == derivation) {
            return salted.clone();
        }
        let salted = derivation.run();
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((derivation.clone(), salted.clone()));
        salted
    }
}

impl fmt::Debug for SaltedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scram::tests::derivation;
    use super::*;

    #[test]
    fn a_key_is_derived_once_and_only_the_last_few_are_kept() {
        let kept = SaltedPasswords::default();
        for salt in [1, 2, 3, 4, 5, 5, 4] {
            let derivation = derivation("pencil", salt);
            assert_eq!(kept.derive(&derivation), derivation.run());
        }
        let salts: Vec<_> = kept.0.lock().unwrap().iter().map(|(known, _)| known.clone()).collect();
        assert_eq!(salts, [2, 3, 4, 5].map(|salt| derivation("pencil", salt)));
        assert_eq!(format!("{kept:?}"), "[redacted]");
    }
}
