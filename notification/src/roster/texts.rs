//! Texts that users choose, checked before they are kept.

use common::model::Limits;
use common::msnp::{ErrorCode, Token, value};

/// A friendly name: 201 if it is too long (§6.11), 209 if it holds what no name may.
pub(super) fn friendly_name(token: &Token, limits: &Limits) -> Result<String, ErrorCode> {
    let name = value::decode(token.as_str()).ok_or(ErrorCode::InvalidFriendlyName)?;
    let long =
        value::encoded_len(&name) > limits.friendly_name || name.chars().count() > limits.friendly_name_chars;
    match () {
        () if long => Err(ErrorCode::InvalidParameter),
        () if name.is_empty() => Err(ErrorCode::InvalidFriendlyName),
        () => Ok(name.into_owned()),
    }
}

/// A group's name: 229 if it is too long, 201 if it is empty or holds what no name may.
pub(super) fn group_name(token: &Token, limits: &Limits) -> Result<String, ErrorCode> {
    let name = value::decode(token.as_str()).ok_or(ErrorCode::InvalidParameter)?;
    if value::encoded_len(&name) > limits.group_name {
        return Err(ErrorCode::GroupNameTooLong);
    }
    if name.is_empty() {
        return Err(ErrorCode::InvalidParameter);
    }
    Ok(name.into_owned())
}

/// A phone number, which is free text: 201 if it is too long or holds what no text may.
pub(super) fn phone(token: &Token, limits: &Limits) -> Result<String, ErrorCode> {
    value::decode(token.as_str())
        .filter(|text| value::encoded_len(text) <= limits.phone)
        .map(std::borrow::Cow::into_owned)
        .ok_or(ErrorCode::InvalidParameter)
}
