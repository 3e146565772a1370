//! `AsChangeset` for the patch, by value and by reference.

use proc_macro2::TokenStream;
use quote::quote;

use super::{column_alias, column_bounds};
use crate::model::Model;

// impl AsChangeset for BookingPatch { type Target = table; type Changeset = Self; … }
// impl AsChangeset for &BookingPatch { … }
// impl QueryFragment<Pg> for BookingPatch where Uuid: FitsColumn<…>, … {
//     fn walk_ast<'b>(&'b self, __out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
//         let mut __set = ::kv_runtime::__private::Assignments::new(__out);
//         __set.field(driver_id_column, &self.driver_id)?;
//         …
//     }
// }
//
// The patch is its own changeset: that costs the compiler a line a field, where Diesel's
// derive has it type two tuples.
pub(super) fn expand(model: &Model) -> Option<TokenStream> {
    let Model { runtime, .. } = model;
    let patch = model.patch_ident();
    // Diesel has no empty changesets.
    model.patch_fields().next()?;
    let bounds = column_bounds(model, model.patch_fields().map(|(_, field)| field));
    let columns = model.patch_fields().map(|(_, field)| column_alias(field));
    let fields = model.patch_fields().map(|(_, field)| &field.ident);
    Some(quote! {
        #[automatically_derived]
        impl diesel::query_builder::AsChangeset for #patch {
            type Target = table;
            type Changeset = Self;

            fn as_changeset(self) -> Self::Changeset {
                self
            }
        }

        #[automatically_derived]
        impl diesel::query_builder::AsChangeset for &#patch {
            type Target = table;
            type Changeset = Self;

            fn as_changeset(self) -> Self::Changeset {
                self
            }
        }

        #[automatically_derived]
        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for #patch
        where
            #bounds
        {
            fn walk_ast<'__b>(
                &'__b self,
                __out: diesel::query_builder::AstPass<'_, '__b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let mut __set = #runtime::__private::Assignments::new(__out);
                #(__set.field(#columns, &self.#fields)?;)*
                ::core::result::Result::Ok(())
            }
        }
    })
}
