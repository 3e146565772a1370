//! What the user wrote on a `KvModel`: its shape and its attributes, still unchecked.

use proc_macro2::{Ident, Span};
use syn::{Data, DeriveInput, Expr, Fields, LitStr, Path, Type, Visibility};

use crate::attribute::{
    Attributes, FieldListInput, Known, NumberOrText, Place, TextOrPath, check_generics, docs,
};
use crate::diagnostics::Diagnostics;

static STRUCT: Place = Place {
    name: "the struct",
    known: &[
        Known::once("table", "`table = \"bookings\"` or `table = path::to::bookings`"),
        Known::once("table_name", "`table_name = \"bookings\"`"),
        Known::once("key_prefix", "`key_prefix = \"booking\"`"),
        Known::once("queue", "`queue = \"ride\"`"),
        Known::once("partition_by", "`partition_by = field` or `partition_by(field, field)`"),
        Known::once("ttl", "`ttl = 900` (seconds) or `ttl = \"15m\"` (s, m, h, d)"),
        Known::once(
            "durability",
            "`durability = \"fast\"`, `\"replicated(1, 100ms)\"` or `\"fsynced(1s)\"`",
        ),
        Known::once("scheme", "`scheme = \"write_through\"`"),
        Known::repeated("unique", "`unique(tenant_id, email)` or `unique(email, when = \"…\")`"),
        Known::repeated("index", "`index(user_id, status)` or `index(status, when = \"…\")`"),
        Known::repeated(
            "references",
            "`references(merchant_id, shop_id, to = \"shops(merchant_id, id)\")`",
        ),
        Known::repeated("check", "`check = \"fare >= 0\"`"),
        Known::once("crate", "`crate = path::to::kv_runtime`"),
    ],
    elsewhere: &[&FIELD],
};

static FIELD: Place = Place {
    name: "a field",
    known: &[
        Known::flag("id"),
        Known::choice("fresh", "`fresh` or `fresh = false`"),
        Known::once("column", "`column = \"driver_id\"`"),
        Known::once("column_type", "`column_type = \"numeric(38, 0)\"`"),
        Known::once("rename", "`rename = \"driver\"`"),
        Known::flag("unique"),
        Known::flag("index"),
        Known::once("references", "`references = \"merchants(id)\"`"),
        Known::flag("version"),
        Known::flag("serial"),
        Known::flag("read_only"),
        Known::expression("default", "`default = Utc::now()`, with any expression"),
    ],
    elsewhere: &[&STRUCT],
};

/// A struct that derives `KvModel`.
pub(crate) struct ModelInput {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) attributes: StructAttributes,
    /// `None` if it is no struct with named fields, which has been reported.
    pub(crate) fields: Option<Vec<FieldInput>>,
}

#[derive(Default)]
pub(crate) struct StructAttributes {
    pub(crate) table: Option<TextOrPath>,
    pub(crate) table_name: Option<LitStr>,
    pub(crate) key_prefix: Option<LitStr>,
    pub(crate) queue: Option<LitStr>,
    pub(crate) partition_by: Option<Vec<Ident>>,
    pub(crate) ttl: Option<NumberOrText>,
    pub(crate) durability: Option<LitStr>,
    pub(crate) scheme: Option<LitStr>,
    pub(crate) unique: Vec<FieldListInput>,
    pub(crate) indexes: Vec<FieldListInput>,
    pub(crate) references: Vec<FieldListInput>,
    pub(crate) checks: Vec<LitStr>,
    pub(crate) runtime: Option<Path>,
}

pub(crate) struct FieldInput {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) ty: Type,
    pub(crate) docs: Vec<Expr>,
    pub(crate) id: Option<Span>,
    pub(crate) fresh: Option<(Span, bool)>,
    pub(crate) column: Option<LitStr>,
    pub(crate) column_type: Option<LitStr>,
    pub(crate) rename: Option<LitStr>,
    pub(crate) unique: Option<Span>,
    pub(crate) index: Option<Span>,
    pub(crate) references: Option<LitStr>,
    pub(crate) version: Option<Span>,
    pub(crate) serial: Option<Span>,
    pub(crate) read_only: Option<Span>,
    pub(crate) default: Option<Expr>,
}

/// Reads a struct; `None` if not even an empty model can stand in for it.
pub(crate) fn read(input: DeriveInput, diagnostics: &mut Diagnostics) -> Option<ModelInput> {
    let attributes = StructAttributes::read(&input, diagnostics);
    check_generics(&input.generics, "KvModel", diagnostics);
    let is_generic = !input.generics.params.is_empty();
    let fields = read_fields(input.data, &input.ident, diagnostics);
    (!is_generic).then_some(ModelInput {
        ident: input.ident,
        visibility: input.vis,
        attributes,
        fields,
    })
}

impl StructAttributes {
    fn read(input: &DeriveInput, diagnostics: &mut Diagnostics) -> Self {
        let d = diagnostics;
        let mut given = Attributes::read(&input.attrs, &STRUCT, d);
        Self {
            table: given.text_or_path("table", d),
            table_name: given.text("table_name", d),
            key_prefix: given.text("key_prefix", d),
            queue: given.text("queue", d),
            partition_by: given.names("partition_by", d),
            ttl: given.number_or_text("ttl", d),
            durability: given.text("durability", d),
            scheme: given.text("scheme", d),
            unique: given.field_lists("unique", "when", d),
            indexes: given.field_lists("index", "when", d),
            references: given.field_lists("references", "to", d),
            checks: given.texts("check", d),
            runtime: given.path("crate", d),
        }
    }
}

fn read_fields(
    data: Data,
    ident: &Ident,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<FieldInput>> {
    let problem = match data {
        Data::Struct(data) => match data.fields {
            Fields::Named(fields) => {
                let read = |field| FieldInput::read(field, diagnostics);
                return Some(fields.named.into_iter().filter_map(read).collect());
            }
            Fields::Unnamed(_) => {
                "a model needs named fields, because they name the columns; \
                 for a newtype that is a field's value, derive `KvValue`"
            }
            Fields::Unit => "a model needs fields, one of them with `#[kv(id)]`",
        },
        Data::Enum(_) => {
            "an enum cannot be a model; derive `KvValue` for it to use it as a field's type"
        }
        Data::Union(_) => "a union cannot be a model; use a struct with named fields",
    };
    diagnostics.error(ident, problem);
    None
}

impl FieldInput {
    fn read(field: syn::Field, diagnostics: &mut Diagnostics) -> Option<Self> {
        let d = diagnostics;
        let mut given = Attributes::read(&field.attrs, &FIELD, d);
        Some(Self {
            // Named fields have one; the parser says so.
            ident: field.ident?,
            visibility: field.vis,
            ty: field.ty,
            docs: docs(&field.attrs),
            id: given.flag("id", d),
            fresh: given.choice("fresh", d),
            column: given.text("column", d),
            column_type: given.text("column_type", d),
            rename: given.text("rename", d),
            unique: given.flag("unique", d),
            index: given.flag("index", d),
            references: given.text("references", d),
            version: given.flag("version", d),
            serial: given.flag("serial", d),
            read_only: given.flag("read_only", d),
            default: given.expression("default", d),
        })
    }
}
