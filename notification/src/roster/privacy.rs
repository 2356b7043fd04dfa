//! `BLP` and `GTC` (§6.7).

use common::msnp::privacy::{self, PrivacyRequest};
use common::msnp::{ErrorCode, TrId};
use common::store::Edit;

use super::{Effect, Owner, Plan, Refused, Touches};

pub(super) fn plan(owner: &Owner<'_>, request: &PrivacyRequest) -> Result<Plan, Refused> {
    let settings = &owner.roster.settings;
    match *request {
        PrivacyRequest::Strangers { trid, policy } => {
            let policy = policy.ok_or(Refused::Code(ErrorCode::InvalidParameter, trid))?;
            let changed = policy != settings.strangers;
            let version = version(owner, changed, trid)?;
            let edits = changed.then_some(Edit::Strangers(policy));
            let effects = changed.then_some(Effect::PrivacyChanged);
            let reply = privacy::strangers(owner.dialect, trid, version, policy);
            Ok(owner.accept(Touches::Settings, reply, edits.into_iter().collect(), effects.into_iter().collect()))
        }
        PrivacyRequest::Prompt { trid, prompt } => {
            let prompt = prompt.ok_or(Refused::Code(ErrorCode::InvalidParameter, trid))?;
            let changed = prompt != settings.add_prompt;
            let version = version(owner, changed, trid)?;
            let edits = changed.then_some(Edit::AddPrompt(prompt));
            let reply = privacy::prompt(owner.dialect, trid, version, prompt);
            Ok(owner.accept(Touches::Settings, reply, edits.into_iter().collect(), Vec::new()))
        }
    }
}

/// The version of the reply. A switch that stands there already is 218, or echoed where clients hang on that.
fn version(owner: &Owner<'_>, changed: bool, trid: TrId) -> Result<u64, Refused> {
    match changed {
        true => Ok(owner.next_version()),
        false if owner.dialect.unchanged_is_error => Err(Refused::Code(ErrorCode::AlreadyInMode, trid)),
        false => Ok(owner.version()),
    }
}
