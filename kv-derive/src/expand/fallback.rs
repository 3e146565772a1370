//! What stands in for a model with mistakes.

use proc_macro2::TokenStream;
use quote::quote;

use super::kv_model::id_type;
use super::{descriptor, field_enum, fields, finders, new_row, patch, repository, version};
use crate::model::Model;

// The field enum, the fields, the patch and the repository as ever, and an `impl KvModel` that
// compiles: without them, every use of the model would be one more error beside its mistake.
pub(crate) fn fallback(model: &Model) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    let field_enum_ident = model.field_ident();
    let patch_ident = model.patch_ident();
    let field_enum = field_enum::expand(model);
    let fields = fields::expand(model);
    let fields_ident = model.fields_ident();
    let fields_value = fields::expand_value(model);
    let finders_struct = finders::expand_empty(model);
    let finders = finders::expand_type(model);
    let patch = patch::expand(model);
    let repository = repository::expand(model);
    let id_type = id_type(model);
    let descriptor = descriptor::expand_empty(model);
    let kv_versioned = version::expand_empty(model);
    let new_row = new_row::expand(model);
    let kv_new_row = new_row::expand_empty_traits(model);
    let field_error = quote!(#runtime::FieldError);
    quote! {
        #field_enum
        #fields
        #patch
        #finders_struct
        #new_row
        #repository
        const _: () = {
            impl #runtime::KvModel for #ident {
                type Id = #id_type;
                type Patch = #patch_ident;
                type Field = #field_enum_ident;
                type Fields = #fields_ident;
                type Finders = #finders;

                const FIELDS: Self::Fields = #fields_value;
                const DESCRIPTOR: &'static #runtime::ModelDescriptor = #descriptor;

                fn row_id(&self) -> Self::Id {
                    ::core::unreachable!()
                }

                fn encode(
                    &self,
                    _: &mut #runtime::RowEncoder,
                ) -> ::core::result::Result<(), #field_error> {
                    ::core::unreachable!()
                }

                fn decode(
                    _: &mut #runtime::RowDecoder<'_>,
                ) -> ::core::result::Result<Self, #field_error> {
                    ::core::unreachable!()
                }

                fn encode_id(
                    _: &Self::Id,
                    _: &mut #runtime::RowEncoder,
                ) -> ::core::result::Result<(), #field_error> {
                    ::core::unreachable!()
                }

                fn decode_id(
                    _: &mut #runtime::RowDecoder<'_>,
                ) -> ::core::result::Result<Self::Id, #field_error> {
                    ::core::unreachable!()
                }
            }

            impl #runtime::KvPatch for #patch_ident {
                fn encode(
                    &self,
                    _: &mut #runtime::EncodedPatch,
                ) -> ::core::result::Result<(), #field_error> {
                    ::core::unreachable!()
                }
            }

            #kv_versioned

            #kv_new_row
        };
    }
}
