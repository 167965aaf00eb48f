//! How long messages that are over are kept, and what must be kept longer for the sake of the promises.

use std::time::Duration;

use waxwing_protocol::limits;

use super::{FileConfig, Origin, Variables, pick, settings};
use crate::error::{Error, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Days are whole ones up to ten years.
const DAYS_MAX: u64 = 3_650;
/// Ids are remembered for as long as any message may be under way, and its last retry after that.
const DEDUPE_MIN: u64 = (limits::TTL_MAX.as_secs() + limits::TTL_MARGIN.as_secs()) / DAY.as_secs();

/// How many days of what is over are kept. What is not over is kept for as long as that takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    /// A received message, after it was acknowledged.
    pub inbox_days: u64,
    /// The content of a sent message, after its delivery.
    pub sent_days: u64,
    /// The id of a message, after it was received or came to its end.
    pub dedupe_days: u64,
}

impl Kept {
    pub(super) fn resolve(
        variables: Variables<'_>,
        file: &FileConfig,
        note: &mut impl FnMut(Origin),
    ) -> Result<Self> {
        let mut days = |setting, in_file, default| {
            let days = pick(setting, variables, in_file, note)?.unwrap_or(default);
            if days > DAYS_MAX {
                return Err(Error::Usage(format!("{} must be at most {DAYS_MAX} days", setting.name)));
            }
            Ok(days)
        };
        let kept = Self {
            inbox_days: days(&settings::INBOX_DAYS, file.inbox_days, 30)?,
            sent_days: days(&settings::SENT_DAYS, file.sent_days, 30)?,
            dedupe_days: days(&settings::DEDUPE_DAYS, file.dedupe_days, 40)?,
        };
        if kept.dedupe_days < DEDUPE_MIN {
            return Err(Error::Usage(format!(
                "dedupe_days is {}, and must be at least {DEDUPE_MIN}: a message may be on its way for {} days, and one whose \
                 id is forgotten before would be taken for a new one",
                kept.dedupe_days,
                limits::TTL_MAX.as_secs() / DAY.as_secs()
            )));
        }
        Ok(kept)
    }

    pub(crate) fn inbox(&self) -> Duration {
        days(self.inbox_days)
    }

    pub(crate) fn sent(&self) -> Duration {
        days(self.sent_days)
    }

    /// How long the ids of received messages are remembered.
    pub(crate) fn received_ids(&self) -> Duration {
        days(self.dedupe_days)
    }

    /// How long the ids of sent messages are: a day longer than anybody on the way remembers them. An id that is free here
    /// while the broker or a recipient still has it would be answered as the message before it, and be lost.
    pub(crate) fn sent_ids(&self, broker: Duration) -> Duration {
        days(self.dedupe_days).max(broker) + DAY
    }
}

fn days(days: u64) -> Duration {
    DAY * u32::try_from(days).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn resolve(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        Config::resolve_in(Some(folder.path().to_path_buf()), &|_| None)
    }

    #[test]
    fn ids_that_would_be_forgotten_while_a_message_is_under_way_are_refused_with_the_reason() {
        for days in [0, 1, 34] {
            let refused = resolve(&format!("dedupe_days = {days}")).unwrap_err();
            let text = refused.to_string();
            assert_eq!(refused.exit_code(), 2, "{text}");
            assert!(text.contains("at least 35") && text.contains("30 days"), "{text}");
        }
        assert_eq!(resolve("dedupe_days = 35\nsent_days = 0\ninbox_days = 0").unwrap().kept.dedupe_days, 35);
        assert!(resolve("inbox_days = 3651").unwrap_err().to_string().contains("inbox_days"));
    }

    #[test]
    fn a_sent_id_is_remembered_longer_than_by_the_broker_and_by_a_recipient_of_the_same_settings() {
        let kept = resolve("").unwrap().kept;
        let broker = days(100);
        assert!(kept.sent_ids(broker) > broker && kept.sent_ids(DAY) > kept.received_ids());
    }
}
