//! Schedules: how many users there are, and how the processors behave.

use std::time::Duration;

/// A run.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// What it is called.
    pub name: &'static str,
    /// How many users there are in the end; at first there is one.
    pub users: u32,
    /// How long it takes.
    pub length: Duration,
    /// How often the service's summary is compared with the processors' books.
    pub audit_interval: Duration,
    /// What the processors do, in the order of time.
    pub steps: Vec<Step>,
}

/// From when on the processors behave how.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Since the beginning.
    pub at: Duration,
    /// The one with the lower fee.
    pub default: Behaviour,
    /// The other one.
    pub fallback: Behaviour,
}

/// How a processor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// How long it takes.
    pub delay_ms: u64,
    /// Whether it fails.
    pub is_failing: bool,
}

const fn well(delay_ms: u64) -> Behaviour {
    Behaviour { delay_ms, is_failing: false }
}

const fn failing(delay_ms: u64) -> Behaviour {
    Behaviour { delay_ms, is_failing: true }
}

fn steps(steps: &[(u64, Behaviour, Behaviour)]) -> Vec<Step> {
    let step = |&(seconds, default, fallback)| Step {
        at: Duration::from_secs(seconds),
        default,
        fallback,
    };
    steps.iter().map(step).collect()
}

impl Schedule {
    /// That of the contest's previews: a minute, up to 550 users.
    pub fn preview() -> Self {
        Self {
            name: "preview",
            users: 550,
            length: Duration::from_secs(60),
            audit_interval: Duration::from_secs(10),
            steps: steps(&[
                (1, well(0), well(0)),
                (10, well(100), well(0)),
                (20, failing(100), well(0)),
                (30, failing(2_000), failing(1_000)),
                (40, well(20), well(20)),
                (50, well(0), well(5_000)),
            ]),
        }
    }

    /// That of the contest's end: five minutes, up to 603 users.
    pub fn last() -> Self {
        Self {
            name: "final",
            users: 603,
            length: Duration::from_secs(300),
            audit_interval: Duration::from_secs(10),
            steps: steps(&[
                (1, well(0), well(0)),
                (30, well(1_000), well(0)),
                (60, well(500), well(0)),
                (90, failing(2_000), well(1_000)),
                (120, failing(5_000), well(5)),
                (150, well(0), failing(5)),
                (180, well(100), well(5)),
                (210, well(50), well(0)),
                (240, well(103), well(10)),
                (270, well(2_000), well(0)),
            ]),
        }
    }

    /// A few seconds with an outage of the cheaper processor.
    pub fn short() -> Self {
        Self {
            name: "short",
            users: 20,
            length: Duration::from_secs(4),
            // The first ones see nothing, because all is too young.
            audit_interval: Duration::from_millis(500),
            steps: steps(&[
                (0, well(0), well(0)),
                (1, failing(20), well(0)),
                (2, well(0), well(0)),
            ]),
        }
    }
}
