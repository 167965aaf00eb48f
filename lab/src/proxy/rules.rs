//! What a test asked for, waiting for its frame.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use waxwing_crypto::NodeId;

use super::frame::{Frame, When};
use crate::error::{Error, Result};

/// A rule that has not met its frame by then never will.
const MET_WITHIN: Duration = Duration::from_secs(30);

type Rewrite = Box<dyn FnOnce(Frame) -> Vec<Frame> + Send>;
/// What is done to every such frame.
type Habit = dyn FnMut(Frame) -> Vec<Frame> + Send;

/// What happens to the frame a rule waited for.
pub(super) enum Action {
    /// It passes when the test says so, or lets go of its handle.
    Hold(oneshot::Receiver<()>),
    Drop,
    Cut,
    Rewrite(Rewrite),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold(_) => "Hold",
            Self::Drop => "Drop",
            Self::Cut => "Cut",
            Self::Rewrite(_) => "Rewrite",
        })
    }
}

/// Rules that have not met their frame, oldest first.
#[derive(Debug, Default)]
pub(super) struct Rules {
    once: Vec<Rule>,
    /// Those that go on until they are withdrawn.
    standing: Vec<StandingRule>,
}

#[derive(Debug)]
struct Rule {
    when: When,
    action: Action,
    met: oneshot::Sender<()>,
}

struct StandingRule {
    when: When,
    habit: Weak<Mutex<Habit>>,
}

impl fmt::Debug for StandingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StandingRule({:?})", self.when)
    }
}

/// A rule for every such frame. Dropping it withdraws the rule.
#[must_use = "dropping it withdraws the rule"]
pub struct Standing {
    _habit: Arc<Mutex<Habit>>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

impl Rules {
    /// Does the same to every such frame.
    pub(super) fn stand(
        &mut self,
        when: When,
        habit: impl FnMut(Frame) -> Vec<Frame> + Send + 'static,
    ) -> Standing {
        let habit: Arc<Mutex<Habit>> = Arc::new(Mutex::new(habit));
        self.standing.push(StandingRule { when, habit: Arc::downgrade(&habit) });
        Standing { _habit: habit }
    }

    pub(super) fn add(&mut self, when: When, action: Action) -> Happened {
        let (met, happened) = oneshot::channel();
        self.once.push(Rule { when, action, met });
        Happened(happened)
    }

    /// Takes the rule that describes this frame, if there is one, and tells its test.
    pub(super) fn take(&mut self, node: Option<NodeId>, frame: &Frame) -> Option<Action> {
        self.once.retain(|rule| !rule.met.is_closed());
        let Some(index) = self.once.iter().position(|rule| rule.when.describes(node, frame)) else {
            return self.habit(node, frame);
        };
        let rule = self.once.remove(index);
        rule.met.send(()).ok().map(|()| rule.action)
    }

    fn habit(&mut self, node: Option<NodeId>, frame: &Frame) -> Option<Action> {
        self.standing.retain(|rule| rule.habit.strong_count() > 0);
        let rule = self.standing.iter().find(|rule| rule.when.describes(node, frame))?;
        let habit = rule.habit.upgrade()?;
        let rewrite = move |frame| {
            let mut habit = habit.lock().unwrap_or_else(PoisonError::into_inner);
            (*habit)(frame)
        };
        Some(Action::Rewrite(Box::new(rewrite)))
    }
}

/// Tells a test that its rule met its frame. Dropping it withdraws the rule.
#[derive(Debug)]
#[must_use = "dropping it withdraws the rule"]
pub struct Happened(oneshot::Receiver<()>);

impl Happened {
    /// Waits until it has.
    ///
    /// # Errors
    /// `Timeout` if no such frame came.
    pub async fn happened(self) -> Result<()> {
        match timeout(MET_WITHIN, self.0).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(Error::Timeout { what: "a frame that the test waits for".to_owned(), within: MET_WITHIN })
            }
        }
    }
}

/// A rule that holds a frame, not met yet.
#[derive(Debug)]
#[must_use = "dropping it withdraws the rule"]
pub struct Hold {
    happened: Happened,
    release: oneshot::Sender<()>,
}

impl Hold {
    pub(super) fn new(when: When, rules: &mut Rules) -> Self {
        let (release, released) = oneshot::channel();
        Self { happened: rules.add(when, Action::Hold(released)), release }
    }

    /// Waits until the frame is held.
    ///
    /// # Errors
    /// `Timeout` if no such frame came.
    pub async fn held(self) -> Result<Held> {
        self.happened.happened().await?;
        Ok(Held(self.release))
    }
}

/// A frame that is held. Dropping this lets it pass.
#[derive(Debug)]
pub struct Held(oneshot::Sender<()>);

impl Held {
    /// Lets it pass, if its link is still there.
    pub fn release(self) {
        // The link may have ended, and the frame with it.
        let _ = self.0.send(());
    }
}
