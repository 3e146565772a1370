//! The Diesel items of a model whose table is given as the path of a `table!`.

mod changeset;
mod identifiable;
mod insertable;
mod queryable;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::Path;

use super::at_type;
use crate::model::{Field, Model};

// ::kv_runtime::__private::if_postgres! {
//     const _: () = {
//         use ::kv_runtime::__private::diesel;
//         use bookings::table;
//         use bookings::{id as id_column, driver_id as driver_id_column, …};
//         …
//     };
// }
//
// Every column is named once, so that a wrong one is one error, at the field.
pub(super) fn expand(model: &Model) -> Option<TokenStream> {
    let path = model.diesel_table.as_ref()?;
    let Model { runtime, .. } = model;
    let columns = model.fields.iter().map(|field| {
        let (column, alias) = (&field.table_column, column_alias(field));
        quote!(#column as #alias)
    });
    let (module, leading) = (segments(path), path.leading_colon);
    let queryable = queryable::expand(model);
    let identifiable = identifiable::expand(model);
    let insertable = insertable::expand(model);
    let changeset = changeset::expand(model);
    Some(quote! {
        #runtime::__private::if_postgres! {
            #[automatically_derived]
            const _: () = {
                use #runtime::__private::diesel;
                use #leading #module::{table, #(#columns),*};

                #queryable
                #identifiable
                #insertable
                #changeset
            };
        }
    })
}

fn segments(path: &Path) -> TokenStream {
    let segments = path.segments.iter().map(|segment| &segment.ident);
    quote!(#(#segments)::*)
}

/// What a column is called within the block, where its own name could hide a type's.
fn column_alias(field: &Field) -> Ident {
    format_ident!("{}_column", field.name, span = field.table_column.span())
}

/// The SQL type of a field's column.
fn sql_type(field: &Field) -> TokenStream {
    let column = column_alias(field);
    quote!(diesel::dsl::SqlTypeOf<#column>)
}

/// That a field's type fits its column, for each of some fields. Where it does not hold, the
/// message is the same for every item, so that the compiler prints it once.
fn column_bounds<'a>(model: &Model, fields: impl Iterator<Item = &'a Field>) -> TokenStream {
    let runtime = &model.runtime;
    let bound = |field: &Field| {
        let (ty, sql_type) = (&field.ty, sql_type(field));
        let bound = at_type(ty, quote!(#runtime::__private::FitsColumn<#sql_type>));
        quote!(#ty: #bound,)
    };
    fields.map(bound).collect()
}
