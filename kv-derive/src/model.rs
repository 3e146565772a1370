//! The validated model: every name chosen, every default filled in.

use proc_macro2::Ident;
use syn::{Expr, Path, Type, Visibility};

/// What the expansion is made from.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    /// Where the expansion finds `kv_runtime`.
    pub(crate) runtime: Path,
    pub(crate) table: String,
    /// The module that `diesel::table!` made, if the model has one.
    pub(crate) diesel_table: Option<Path>,
    pub(crate) key_prefix: String,
    pub(crate) queue: String,
    pub(crate) ttl_seconds: Option<u64>,
    pub(crate) durability: Option<Durability>,
    /// The variant of `StorageScheme`.
    pub(crate) scheme: Option<&'static str>,
    pub(crate) fields: Vec<Field>,
    /// The id, as positions in `fields`, ascending.
    pub(crate) id: Vec<usize>,
    /// Whether the user vouches that the id of a new row is new, where that is said.
    pub(crate) id_is_declared_fresh: Option<bool>,
    /// What chooses the partition, as positions in `id`.
    pub(crate) partition_by: Vec<usize>,
    pub(crate) unique: Vec<ModelIndex>,
    pub(crate) indexes: Vec<ModelIndex>,
    pub(crate) references: Vec<ModelReference>,
    /// SQL conditions that every row meets.
    pub(crate) checks: Vec<String>,
    /// The field that every change of a row raises, as a position in `fields`.
    pub(crate) version: Option<usize>,
    /// The id that a sequence of PostgreSQL numbers, as a position in `fields`.
    pub(crate) serial: Option<usize>,
}

/// Fields by whose values rows are found.
pub(crate) struct ModelIndex {
    /// The names of the fields, joined by `_and_`.
    pub(crate) name: String,
    /// As positions in the model's fields, in the order they were written in.
    pub(crate) fields: Vec<usize>,
    /// An SQL condition on the rows that it is about.
    pub(crate) when: Option<String>,
}

/// Fields whose values are those of a row of another table.
pub(crate) struct ModelReference {
    /// As positions in the model's fields, in the order they were written in.
    pub(crate) fields: Vec<usize>,
    pub(crate) table: String,
    /// The other table's columns, one for each field.
    pub(crate) columns: Vec<String>,
}

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Fast,
    Replicated { replicas: u32, timeout_ms: u64 },
    Fsynced { timeout_ms: u64 },
}

/// The bounds of a column `numeric(precision, scale)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numeric {
    pub(crate) precision: u16,
    pub(crate) scale: u16,
}

/// One field, which is one column.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// The identifier without `r#`.
    pub(crate) name: String,
    /// Of the setter: that of the field, but never more than the struct's.
    pub(crate) visibility: Visibility,
    pub(crate) ty: Type,
    pub(crate) docs: Vec<Expr>,
    /// Whether PostgreSQL alone fills it.
    pub(crate) is_read_only: bool,
    /// What it is in a new row.
    pub(crate) default: Option<Expr>,
    /// In the field enum.
    pub(crate) variant: Ident,
    /// In the Redis hash and in entries.
    pub(crate) hash_name: String,
    /// In PostgreSQL.
    pub(crate) column: String,
    /// How many digits the column keeps, where that is said.
    pub(crate) numeric: Option<Numeric>,
    /// In the module that `diesel::table!` made.
    pub(crate) table_column: Ident,
}

impl Model {
    /// The type of the patch.
    pub(crate) fn patch_ident(&self) -> Ident {
        self.ident_with("Patch")
    }

    /// The enum of the field names.
    pub(crate) fn field_ident(&self) -> Ident {
        self.ident_with("Field")
    }

    /// The struct of the fields in queries.
    pub(crate) fn fields_ident(&self) -> Ident {
        self.ident_with("Fields")
    }

    /// The type of the repository's methods for the indexes.
    pub(crate) fn finders_ident(&self) -> Ident {
        self.ident_with("Finders")
    }

    /// The alias of the repository.
    pub(crate) fn repository_ident(&self) -> Ident {
        self.ident_with("Repository")
    }

    /// A row of which some fields are filled in, if there are such fields.
    pub(crate) fn new_row_ident(&self) -> Option<Ident> {
        let has_default = self.fields.iter().any(|field| field.default.is_some());
        let name = format!("New{}", crate::naming::unraw(&self.ident));
        (has_default || self.serial.is_some()).then(|| Ident::new(&name, self.ident.span()))
    }

    /// The fields that the user gives a new row.
    pub(crate) fn given_fields(&self) -> impl Iterator<Item = &Field> {
        let is_set = |position: usize| [self.serial, self.version].contains(&Some(position));
        let is_filled = |field: &Field| field.default.is_some() || field.is_read_only;
        let all = self.fields.iter().enumerate();
        all.filter(move |(at, field)| !is_filled(field) && !is_set(*at)).map(|(_, field)| field)
    }

    /// The fields of the id.
    pub(crate) fn id_fields(&self) -> impl ExactSizeIterator<Item = &Field> {
        self.id.iter().map(|&position| &self.fields[position])
    }

    /// The fields a patch can set, with their positions: all but the id, the version and those
    /// that PostgreSQL fills.
    pub(crate) fn patch_fields(&self) -> impl Iterator<Item = (usize, &Field)> {
        let is_kept = |at: &usize| self.id.contains(at) || self.version == Some(*at);
        let all = self.fields.iter().enumerate();
        all.filter(move |(at, field)| !is_kept(at) && !field.is_read_only)
    }

    /// The fields whose values are written to PostgreSQL.
    pub(crate) fn written_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.is_read_only)
    }

    fn ident_with(&self, suffix: &str) -> Ident {
        // With the span of the struct, so that an editor leads there.
        Ident::new(&format!("{}{suffix}", crate::naming::unraw(&self.ident)), self.ident.span())
    }
}
