//! The SQL of the models' tables, on a real PostgreSQL.

#[path = "schema/changes.rs"]
mod changes;
#[path = "schema/command.rs"]
mod command;
#[path = "schema/create.rs"]
mod create;
#[path = "schema/difference.rs"]
mod difference;
#[path = "schema/models.rs"]
mod models;
#[path = "schema/names.rs"]
mod names;
