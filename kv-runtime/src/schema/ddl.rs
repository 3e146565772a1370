//! The statements that make the table of a model, piece by piece.

use super::name::{
    check_name, columns, index_name, quote, quote_one, reference_name, split, unique_name,
};
use super::step::Step;
use crate::model::{
    ColumnDescriptor, ColumnType, IndexDescriptor, ModelDescriptor, ReferenceDescriptor,
};

/// A type of the user's that models need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnumType {
    pub(crate) name: &'static str,
    pub(crate) labels: &'static [&'static str],
}

impl EnumType {
    fn of(ty: ColumnType) -> Option<Self> {
        match ty {
            ColumnType::Array(element) => Self::of(*element),
            ColumnType::Enum { name, labels } => Some(Self { name, labels }),
            _ => None,
        }
    }

    /// Those that the columns of some models have, each once.
    pub(crate) fn all_of(models: &[&'static ModelDescriptor]) -> Vec<Self> {
        let columns = models.iter().flat_map(|model| model.columns);
        let mut types: Vec<Self> = Vec::new();
        for ty in columns.filter_map(|column| Self::of(column.ty)) {
            if !types.iter().any(|known| known.name == ty.name) {
                types.push(ty);
            }
        }
        types
    }

    pub(crate) fn create(&self) -> Step {
        let name = quote_one(self.name);
        let labels: Vec<String> = self.labels.iter().map(|label| literal(label)).collect();
        let up = format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "));
        Step::new(up, format!("DROP TYPE {name}"))
    }
}

/// A text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What stands between the parentheses of `CREATE TABLE`.
pub(crate) fn table_elements(model: &ModelDescriptor) -> Vec<String> {
    let mut elements: Vec<String> = model.columns.iter().map(column).collect();
    elements.push(format!("PRIMARY KEY ({})", columns(model, model.id)));
    elements.extend(model.checks.iter().map(|condition| check(model, condition)));
    elements
}

/// A column, as `CREATE TABLE` and `ADD COLUMN` have it.
pub(crate) fn column(column: &ColumnDescriptor) -> String {
    let constraint = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {}{constraint}", quote_one(column.column), column.ty)
}

/// A condition, as `CREATE TABLE` and `ADD` have it.
pub(crate) fn check(model: &ModelDescriptor, condition: &str) -> String {
    format!("CONSTRAINT {} CHECK ({condition})", quote_one(&check_name(model, condition)))
}

/// All indexes of a model, unique or not, beside that of its primary key.
pub(crate) fn indexes(
    model: &'static ModelDescriptor,
) -> impl Iterator<Item = (&'static IndexDescriptor, bool)> {
    let unique = model.unique.iter().map(|index| (index, true));
    unique.chain(model.indexes.iter().map(|index| (index, false)))
}

/// What an index is called.
pub(crate) fn name_of(model: &ModelDescriptor, index: &IndexDescriptor, is_unique: bool) -> String {
    if is_unique { unique_name(model, index) } else { index_name(model, index) }
}

/// The statement that makes an index of a model, on this table.
pub(crate) fn create_index_on(
    table: &str,
    model: &ModelDescriptor,
    index: &IndexDescriptor,
    is_unique: bool,
) -> String {
    let unique = if is_unique { "UNIQUE " } else { "" };
    let name = quote_one(&name_of(model, index, is_unique));
    let columns = columns(model, index.columns);
    let condition = index.when.map(|when| format!(" WHERE {when}")).unwrap_or_default();
    format!("CREATE {unique}INDEX {name} ON {} ({columns}){condition}", quote(table))
}

pub(crate) fn create_index(
    model: &ModelDescriptor,
    index: &IndexDescriptor,
    is_unique: bool,
) -> Step {
    let name = name_of(model, index, is_unique);
    let up = create_index_on(model.table, model, index, is_unique);
    Step::new(up, drop_index(model, &name))
}

/// An index is in the schema of its table.
pub(crate) fn drop_index(model: &ModelDescriptor, name: &str) -> String {
    let schema = split(model.table).0.map(|schema| format!("{}.", quote_one(schema)));
    format!("DROP INDEX {}{}", schema.unwrap_or_default(), quote_one(name))
}

pub(crate) fn add_reference(model: &ModelDescriptor, reference: &ReferenceDescriptor) -> Step {
    let (table, name) = (quote(model.table), quote_one(&reference_name(model, reference)));
    let targets: Vec<String> = reference.targets.iter().map(|name| quote_one(name)).collect();
    let up = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({})",
        columns(model, reference.columns),
        quote(reference.table),
        targets.join(", ")
    );
    Step::new(up, format!("ALTER TABLE {table} DROP CONSTRAINT {name}"))
}

/// The table of a model with its indexes.
pub(crate) fn create(model: &'static ModelDescriptor) -> Vec<Step> {
    let table = quote(model.table);
    let up = format!("CREATE TABLE {table} (\n    {}\n)", table_elements(model).join(",\n    "));
    let mut steps = vec![Step::new(up, format!("DROP TABLE {table}"))];
    // They go with the table.
    let indexes = indexes(model).map(|(index, is_unique)| create_index(model, index, is_unique));
    steps.extend(indexes.map(|step| Step { down: None, ..step }));
    steps
}

/// All that some models need: types, tables, and then the keys, which may go round in a circle.
pub(crate) fn create_all(models: &[&'static ModelDescriptor]) -> Vec<Step> {
    let mut steps: Vec<Step> = EnumType::all_of(models).iter().map(EnumType::create).collect();
    steps.extend(models.iter().flat_map(|model| create(model)));
    for model in models {
        steps.extend(model.references.iter().map(|reference| add_reference(model, reference)));
    }
    steps
}
