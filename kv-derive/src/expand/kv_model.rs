//! `impl KvModel`: a line a field, each calling the runtime.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Index;

use super::{at_type, descriptor, fields, finders, one_or_tuple};
use crate::model::{Field, Model};

// impl ::kv_runtime::KvModel for Booking {
//     type Id = Uuid;
//     type Patch = BookingPatch;
//     type Field = BookingField;
//     type Fields = BookingFields;
//     type Finders = BookingFinders;
//     const FIELDS: BookingFields = BookingFields { id: ::kv_runtime::Field::at(0), … };
//     const DESCRIPTOR: &'static ::kv_runtime::ModelDescriptor = …;
//     fn row_id(&self) -> Self::Id { … }
//     fn encode(&self, …) {
//         __row.field("driver_id", &self.driver_id)?;
//         __row.bounded_field("fare", &self.fare, ::kv_runtime::NumericBounds { … })?;
//         …
//     }
//     fn decode(…) { Ok(Self { driver_id: __row.field("driver_id")?, … }) }
//     fn encode_id(…) { __row.field("id", __id)?; … }
//     fn decode_id(…) { __row.field("id") }
// }
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    let patch = model.patch_ident();
    let field_enum = model.field_ident();
    let fields_type = model.fields_ident();
    let fields_value = fields::expand_value(model);
    let descriptor = descriptor::expand(model);
    let finders = finders::expand_type(model);
    let id_type = id_type(model);
    let id = id(model);
    let encode_id = encode_id(model);
    let decode_id = decode_id(model);
    let bounds = value_bounds(model);
    let fields = model.fields.iter().map(|field| &field.ident);
    let names = model.fields.iter().map(|field| &field.name);
    let encoded = model.fields.iter().map(|field| encode(model, field));
    quote! {
        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is stored like the others.
        impl #runtime::KvModel for #ident
        where
            #bounds
        {
            type Id = #id_type;
            type Patch = #patch;
            type Field = #field_enum;
            type Fields = #fields_type;
            type Finders = #finders;

            const FIELDS: Self::Fields = #fields_value;
            const DESCRIPTOR: &'static #runtime::ModelDescriptor = #descriptor;

            fn row_id(&self) -> Self::Id {
                #id
            }

            fn encode(
                &self,
                __row: &mut #runtime::RowEncoder,
            ) -> ::core::result::Result<(), #runtime::FieldError> {
                #(#encoded)*
                ::core::result::Result::Ok(())
            }

            fn decode(
                __row: &mut #runtime::RowDecoder<'_>,
            ) -> ::core::result::Result<Self, #runtime::FieldError> {
                ::core::result::Result::Ok(Self {
                    #(#fields: __row.field(#names)?,)*
                })
            }

            fn encode_id(
                __id: &Self::Id,
                __row: &mut #runtime::RowEncoder,
            ) -> ::core::result::Result<(), #runtime::FieldError> {
                #encode_id
                ::core::result::Result::Ok(())
            }

            fn decode_id(
                __row: &mut #runtime::RowDecoder<'_>,
            ) -> ::core::result::Result<Self::Id, #runtime::FieldError> {
                #decode_id
            }
        }
    }
}

fn encode(model: &Model, field: &Field) -> TokenStream {
    let Field { ident, name, .. } = field;
    match field.numeric {
        Some(bounds) => {
            let bounds = descriptor::numeric_bounds(&model.runtime, bounds);
            quote!(__row.bounded_field(#name, &self.#ident, #bounds)?;)
        }
        None => quote!(__row.field(#name, &self.#ident)?;),
    }
}

/// That every field is a value, once a type: without it, each line that uses a field would
/// repeat the message about its type.
pub(super) fn value_bounds(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let mut types: Vec<&syn::Type> = Vec::new();
    for field in &model.fields {
        if !types.contains(&&field.ty) {
            types.push(&field.ty);
        }
    }
    let bound = |ty: &&syn::Type| {
        let bound = at_type(ty, quote!(#runtime::KvValue));
        quote!(#ty: #bound,)
    };
    types.iter().map(bound).collect()
}

/// The type of the only field, or a tuple of them.
pub(super) fn id_type(model: &Model) -> TokenStream {
    one_or_tuple(model.id_fields().map(|field| field.ty.to_token_stream()))
}

fn id(model: &Model) -> TokenStream {
    one_or_tuple(model.id_fields().map(|field| {
        let ident = &field.ident;
        quote!(::core::clone::Clone::clone(&self.#ident))
    }))
}

fn decode_id(model: &Model) -> TokenStream {
    if let [only] = model.id.as_slice() {
        let name = &model.fields[*only].name;
        return quote!(__row.field(#name));
    }
    let names = model.id_fields().map(|field| &field.name);
    quote!(::core::result::Result::Ok((#(__row.field(#names)?),*)))
}

fn encode_id(model: &Model) -> TokenStream {
    if let [only] = model.id.as_slice() {
        let name = &model.fields[*only].name;
        return quote!(__row.field(#name, __id)?;);
    }
    let line = |(position, field): (usize, &Field)| {
        let (name, position) = (&field.name, Index::from(position));
        quote!(__row.field(#name, &__id.#position)?;)
    };
    model.id_fields().enumerate().map(line).collect()
}
