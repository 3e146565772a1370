//! One step of a migration, there and back.

/// A statement, the one that takes it back, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) up: String,
    /// `None` where another step takes it back as well, or nothing can.
    pub(crate) down: Option<String>,
    pub(crate) note: Option<String>,
    /// Whether it is for a person to decide: then it stands there as a comment.
    pub(crate) is_proposal: bool,
}

impl Step {
    pub(crate) fn new(up: String, down: String) -> Self {
        Self { up, down: Some(down), note: None, is_proposal: false }
    }

    /// Something that a person is to decide.
    pub(crate) fn propose(up: String, note: impl Into<String>) -> Self {
        Self { up, down: None, note: Some(note.into()), is_proposal: true }
    }

    pub(crate) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// As it stands in `up.sql`.
    pub(crate) fn to_up(&self) -> String {
        let note = self.note.as_ref().map(|note| format!("-- {note}\n")).unwrap_or_default();
        let comment = if self.is_proposal { "-- " } else { "" };
        format!("{note}{comment}{};\n", self.up)
    }
}
