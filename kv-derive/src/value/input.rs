//! What the user wrote on a `KvValue`: its shape and its attributes, still unchecked.

use proc_macro2::Ident;
use syn::{Data, DataEnum, DeriveInput, Fields, LitStr, Member, Path};

use super::model::Newtype;
use crate::attribute::{Attributes, Known, Place, check_generics};
use crate::diagnostics::Diagnostics;

static ENUM: Place = Place {
    name: "the enum",
    known: &[
        Known::once("pg_type", "`pg_type = \"booking_status\"`"),
        Known::once("sql_type", "`sql_type = path::to::sql_types::BookingStatus`"),
        Known::once("crate", "`crate = path::to::kv_runtime`"),
    ],
    elsewhere: &[&VARIANT],
};

static VARIANT: Place = Place {
    name: "a variant",
    known: &[Known::once("rename", "`rename = \"on_hold\"`")],
    elsewhere: &[&ENUM],
};

static NEWTYPE: Place = Place {
    name: "a newtype",
    known: &[Known::once("crate", "`crate = path::to::kv_runtime`")],
    elsewhere: &[&ENUM, &VARIANT],
};

static NEWTYPE_FIELD: Place =
    Place { name: "a newtype's field", known: &[], elsewhere: &[&NEWTYPE, &ENUM, &VARIANT] };

/// A type that derives `KvValue`.
pub(crate) struct ValueInput {
    pub(crate) ident: Ident,
    pub(crate) runtime: Option<Path>,
    pub(crate) shape: ShapeInput,
}

pub(crate) enum ShapeInput {
    Enum {
        variants: Vec<VariantInput>,
        pg_type: Option<LitStr>,
        sql_type: Option<Path>,
    },
    Newtype(Newtype),
    /// Neither, which has been reported.
    Refused,
}

pub(crate) struct VariantInput {
    pub(crate) ident: Ident,
    pub(crate) rename: Option<LitStr>,
}

/// Reads a type; `None` if not even an empty enum can stand in for it.
pub(crate) fn read(input: DeriveInput, diagnostics: &mut Diagnostics) -> Option<ValueInput> {
    check_generics(&input.generics, "KvValue", diagnostics);
    let is_generic = !input.generics.params.is_empty();
    let place = if matches!(input.data, Data::Enum(_)) { &ENUM } else { &NEWTYPE };
    let mut given = Attributes::read(&input.attrs, place, diagnostics);
    let runtime = given.path("crate", diagnostics);
    let shape = match input.data {
        Data::Enum(data) => read_enum(data, given, diagnostics),
        Data::Struct(data) => read_newtype(data.fields, &input.ident, diagnostics),
        Data::Union(_) => {
            diagnostics.error(&input.ident, "a union cannot be a field's value");
            ShapeInput::Refused
        }
    };
    (!is_generic).then_some(ValueInput { ident: input.ident, runtime, shape })
}

fn read_enum(data: DataEnum, mut given: Attributes, diagnostics: &mut Diagnostics) -> ShapeInput {
    let pg_type = given.text("pg_type", diagnostics);
    let sql_type = given.path("sql_type", diagnostics);
    let mut variants = Vec::new();
    for variant in data.variants {
        let mut given = Attributes::read(&variant.attrs, &VARIANT, diagnostics);
        if !matches!(variant.fields, Fields::Unit) {
            let message = "a variant that is stored as text carries no data";
            diagnostics.error(&variant.fields, message);
        }
        let rename = given.text("rename", diagnostics);
        variants.push(VariantInput { ident: variant.ident, rename });
    }
    ShapeInput::Enum { variants, pg_type, sql_type }
}

fn read_newtype(fields: Fields, ident: &Ident, diagnostics: &mut Diagnostics) -> ShapeInput {
    for field in &fields {
        // For the message about what it has: a newtype's field takes no attribute.
        Attributes::read(&field.attrs, &NEWTYPE_FIELD, diagnostics);
    }
    let count = fields.len();
    let mut members = fields.members().collect::<Vec<Member>>().into_iter();
    match (members.next(), fields.into_iter().next()) {
        (Some(field), Some(inner)) if count == 1 => {
            ShapeInput::Newtype(Newtype { field, ty: inner.ty })
        }
        _ => {
            let message = format!(
                "a value is a struct with one field or an enum, and this has {count} fields; \
                 for a row, derive `KvModel`"
            );
            diagnostics.error(ident, message);
            ShapeInput::Refused
        }
    }
}
