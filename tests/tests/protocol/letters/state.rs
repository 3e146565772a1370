//! What is there of a partition with dead letters.

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    /// The entries, the first one numbered 1.
    pub(super) queue: Vec<Entry>,
    // Redis.
    pub(super) hot: [Option<Row>; 2],
    pub(super) settled: u8,
    // PostgreSQL.
    pub(super) contents: [u8; 2],
    pub(super) position: u8,
    pub(super) held: u8,
    pub(super) letters: Vec<Letter>,
    // The drainer.
    pub(super) plan: Option<Plan>,
    pub(super) settlings: Vec<Settling>,
    pub(super) unsaved: Vec<Letter>,
    pub(super) has_crashed: bool,
    // Whoever lets go.
    pub(super) release: Option<Release>,
    pub(super) lettings_go: u8,
    pub(super) discarded: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) row: usize,
    pub(super) is_bad: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) entry: u8,
    pub(super) contents: u8,
    pub(super) expires: bool,
    pub(super) mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    None,
    /// By the letter of this entry.
    Held(u8),
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Letter {
    pub(super) entry: u8,
    pub(super) row: usize,
    pub(super) is_behind: bool,
    pub(super) is_released: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) held: u8,
    pub(super) held_rows: [bool; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Settling {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) held_rows: [bool; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Release {
    /// Letters were read, and are to be let go: only without the lock.
    Read {
        row: usize,
        letters: Vec<Letter>,
        applies: bool,
    },
    Committed {
        row: usize,
        newest: u8,
    },
    ToldRedis {
        row: usize,
    },
}

impl State {
    pub(super) fn newest_entry(&self, row: usize, up_to: u8) -> u8 {
        let queue = &self.queue[..up_to as usize];
        queue.iter().rposition(|entry| entry.row == row).map_or(0, |at| at as u8 + 1)
    }

    pub(super) fn letters_of(&self, row: usize) -> impl Iterator<Item = &Letter> {
        self.letters.iter().filter(move |letter| letter.row == row && !letter.is_released)
    }

    pub(super) fn held_rows(&self) -> [bool; 2] {
        [0, 1].map(|row| self.letters_of(row).next().is_some())
    }

    /// What PostgreSQL should have of a row: all up to its first letter but what was discarded.
    pub(super) fn expected(&self, row: usize) -> u8 {
        let end = self.letters_of(row).map(|letter| letter.entry).min();
        let end = end.unwrap_or(self.position + 1);
        let applied = (1..end).filter(|&entry| self.queue[entry as usize - 1].row == row);
        applied.map(|entry| 1 << entry).sum::<u8>() & !self.discarded
    }

    /// The letters of a row are one that was refused and all that came after it.
    pub(super) fn letters_are_exact(&self, row: usize) -> bool {
        let mut letters: Vec<_> = self.letters_of(row).collect();
        letters.sort_by_key(|letter| letter.entry);
        let Some(first) = letters.first() else { return true };
        let behind = first.entry + 1..=self.position;
        let behind = behind.filter(|&entry| self.queue[entry as usize - 1].row == row);
        !first.is_behind && letters[1..].iter().map(|letter| letter.entry).eq(behind)
    }
}
