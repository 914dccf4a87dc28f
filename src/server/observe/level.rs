//! How loud a call's line in the log is.

use tonic::Code;
use tracing::Level;

/// OK and given-up calls are quiet, the caller's faults are information, ours are errors.
pub fn level(code: Code) -> Level {
    match code {
        Code::Ok | Code::Cancelled => Level::DEBUG,
        Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Level::INFO,
        Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => Level::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_faults_are_errors() {
        let errors: Vec<i32> =
            (0..17).filter(|number| level(Code::from(*number)) == Level::ERROR).collect();
        assert_eq!(errors, [2, 13, 14, 15]);
        assert_eq!(level(Code::Ok), Level::DEBUG);
        assert_eq!(level(Code::Cancelled), Level::DEBUG);
    }
}
