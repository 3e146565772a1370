//! Which faults happen, to whom and when: drawn from the seed alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillWriter,
    PauseWriter,
    KillDrainer,
    PauseDrainer,
    RestartPostgres,
    KillRedis,
    CutConnections,
    StallConnections,
    LoseAnswers,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::KillWriter,
        Self::PauseWriter,
        Self::KillDrainer,
        Self::PauseDrainer,
        Self::RestartPostgres,
        Self::KillRedis,
        Self::CutConnections,
        Self::StallConnections,
        Self::LoseAnswers,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillWriter => "writers killed",
            Self::PauseWriter => "writers paused",
            Self::KillDrainer => "drainers killed",
            Self::PauseDrainer => "drainers paused",
            Self::RestartPostgres => "PostgreSQL restarted at once",
            Self::KillRedis => "Redis killed",
            Self::CutConnections => "connections cut",
            Self::StallConnections => "connections stalled",
            Self::LoseAnswers => "answers lost",
        })
    }
}

/// One of the processes that write or drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Writer(usize),
    Drainer(usize),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(number) => write!(f, "writer {number}"),
            Self::Drainer(number) => write!(f, "drainer {number}"),
        }
    }
}

/// A server, or the connections to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    Redis,
    Postgres,
}

/// What is done to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Kill(Member),
    Start(Member),
    Pause(Member),
    Continue(Member),
    Stop(Server),
    StartAgain(Server),
    Cut(Member, Server),
    Stall(Member, Server),
    Resume(Member, Server),
    StallAnswers(Member, Server),
    LoseAnswers(Member, Server),
}

/// An action and its time since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) at: Duration,
    pub(crate) action: Action,
    /// The fault that begins with it.
    pub(crate) begins: Option<Fault>,
}

/// What a fault is done to: nothing else is done to it before the fault is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Process(Member),
    Way(Member, Server),
    Server(Server),
}

/// The time between two faults.
const GAP_MS: std::ops::Range<u64> = 50..700;
/// How long a process stays paused or a connection stalled: less than a command's time-out, or
/// more than a lease.
const SHORT_MS: std::ops::Range<u64> = 20..900;
const LONG_MS: std::ops::Range<u64> = 2_500..5_000;
/// How long a killed process or server stays away.
const AWAY_MS: std::ops::Range<u64> = 1..800;

/// The actions of a run, in the order of their times. All that is taken away is given back.
pub(crate) fn draw(
    random: &mut fastrand::Rng,
    length: Duration,
    writers: usize,
    drainers: usize,
) -> Vec<Timed> {
    let mut actions = Vec::new();
    let mut busy: BTreeMap<Target, Duration> = BTreeMap::new();
    let mut now = Duration::ZERO;
    let mut kinds: Vec<Fault> = Vec::new();
    loop {
        now += milliseconds(random, GAP_MS);
        if now >= length {
            break;
        }
        if kinds.is_empty() {
            kinds = Fault::ALL.to_vec();
            random.shuffle(&mut kinds);
        }
        let Some(fault) = kinds.pop() else { break };
        let target = target_of(random, fault, writers, drainers);
        if busy.get(&target).is_some_and(|until| *until >= now) {
            continue;
        }
        let until = now + duration_of(random, fault);
        busy.insert(target, until);
        let (first, last) = actions_of(fault, target);
        actions.push(Timed { at: now, action: first, begins: Some(fault) });
        actions.extend(last.map(|action| Timed { at: until, action, begins: None }));
    }
    actions.sort_by_key(|timed| timed.at);
    actions
}

fn milliseconds(random: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range))
}

fn target_of(random: &mut fastrand::Rng, fault: Fault, writers: usize, drainers: usize) -> Target {
    let member = random.usize(0..writers + drainers);
    let writer = Member::Writer(member % writers);
    let drainer = Member::Drainer(member % drainers);
    let any = if member < writers { writer } else { Member::Drainer(member - writers) };
    let server = random.choice([Server::Redis, Server::Postgres]).unwrap_or(Server::Redis);
    match fault {
        Fault::KillWriter | Fault::PauseWriter => Target::Process(writer),
        Fault::KillDrainer | Fault::PauseDrainer => Target::Process(drainer),
        Fault::RestartPostgres => Target::Server(Server::Postgres),
        Fault::KillRedis => Target::Server(Server::Redis),
        Fault::CutConnections | Fault::StallConnections | Fault::LoseAnswers => {
            Target::Way(any, server)
        }
    }
}

fn duration_of(random: &mut fastrand::Rng, fault: Fault) -> Duration {
    match fault {
        Fault::PauseWriter | Fault::PauseDrainer | Fault::StallConnections => {
            let range = if random.u8(0..3) == 0 { LONG_MS } else { SHORT_MS };
            milliseconds(random, range)
        }
        _ => milliseconds(random, AWAY_MS),
    }
}

fn actions_of(fault: Fault, target: Target) -> (Action, Option<Action>) {
    match (fault, target) {
        (Fault::CutConnections, Target::Way(member, server)) => (Action::Cut(member, server), None),
        (Fault::LoseAnswers, Target::Way(member, server)) => {
            (Action::StallAnswers(member, server), Some(Action::LoseAnswers(member, server)))
        }
        (_, Target::Way(member, server)) => {
            (Action::Stall(member, server), Some(Action::Resume(member, server)))
        }
        (Fault::KillWriter | Fault::KillDrainer, Target::Process(member)) => {
            (Action::Kill(member), Some(Action::Start(member)))
        }
        (_, Target::Process(member)) => (Action::Pause(member), Some(Action::Continue(member))),
        (_, Target::Server(server)) => (Action::Stop(server), Some(Action::StartAgain(server))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_all_kinds_in_half_a_minute() {
        let draw = |seed| {
            draw(&mut fastrand::Rng::with_seed(seed), Duration::from_secs(30), 3, 3)
                .into_iter()
                .map(|timed| format!("{timed:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let drawn = draw(7).join("\n");
        for fault in Fault::ALL {
            assert!(drawn.contains(&format!("Some({fault:?})")), "{fault:?} is not drawn");
        }
    }
}
