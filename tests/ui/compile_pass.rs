//! What the derives take. Each file stands for a crate of a user.

// What a careful user would write differently, and may write.
#![allow(clippy::unnecessary_fold)]

#[path = "pass/anywhere.rs"]
mod anywhere;
#[path = "pass/attribute_reference.rs"]
mod attribute_reference;
#[path = "pass/cfg_fields.rs"]
mod cfg_fields;
#[path = "pass/composite_id.rs"]
mod composite_id;
#[path = "pass/crate_path.rs"]
mod crate_path;
#[path = "pass/every_field_type.rs"]
mod every_field_type;
#[path = "pass/from_macro_rules.rs"]
mod from_macro_rules;
#[path = "pass/new_row.rs"]
pub mod new_row;
#[path = "pass/raw_identifiers.rs"]
mod raw_identifiers;
#[path = "pass/shadowed_names.rs"]
mod shadowed_names;
#[path = "pass/strict_lints.rs"]
pub mod strict_lints;
#[path = "pass/values.rs"]
mod values;
#[path = "pass/widest_model.rs"]
mod widest_model;
