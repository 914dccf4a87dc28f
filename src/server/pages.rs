//! Page tokens of lists: each is good for the list and filter it was given for, and no other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Code;

use super::fault::Fault;
use crate::base::hash;

/// Hex digits of the check before the place.
const CHECK: usize = 16;

/// A list with its filter: what its tokens are good for.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// The method.
    pub name: &'static str,
    /// What else was asked for.
    pub filter: &'a str,
}

impl List<'_> {
    /// The token for what comes after `place`; empty at the end.
    pub fn token(&self, place: Option<String>) -> String {
        place.map_or_else(String::new, |place| {
            URL_SAFE_NO_PAD.encode(format!("{}{place}", self.check(&place)))
        })
    }

    /// The place that a token was made from; empty for the first page.
    ///
    /// # Errors
    /// `BAD_PAGE_TOKEN`.
    pub fn place(&self, token: &str) -> Result<String, Fault> {
        if token.is_empty() {
            return Ok(String::new());
        }
        let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|text| String::from_utf8(text).ok());
        let place = text.as_deref().and_then(|text| {
            let (check, place) = text.split_at_checked(CHECK)?;
            (self.check(place) == check).then(|| place.to_owned())
        });
        place.ok_or_else(|| {
            let message = "the page token is not one that was given for this list and filter";
            Fault::new(Code::InvalidArgument, "BAD_PAGE_TOKEN", message).at("page_token")
        })
    }

    fn check(&self, place: &str) -> String {
        hash::key(&["page", self.name, self.filter, place])[..CHECK].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_list_and_filter_only() {
        let jobs = List { name: "ListJobs", filter: "1" };
        let token = jobs.token(Some("019a-7".into()));
        assert_eq!(jobs.place(&token).expect("its own"), "019a-7");
        assert_eq!(
            (jobs.place("").expect("the first"), jobs.token(None)),
            (String::new(), String::new())
        );
        let others = [List { filter: "2", ..jobs }, List { name: "ListJobPairs", ..jobs }];
        for other in others {
            assert_eq!(other.place(&token).expect_err("foreign").reason(), "BAD_PAGE_TOKEN");
        }
        for wrong in ["019a-7", "x", "é", &URL_SAFE_NO_PAD.encode("short"), &token[1..]] {
            assert_eq!(jobs.place(wrong).expect_err(wrong).reason(), "BAD_PAGE_TOKEN");
        }
    }
}
