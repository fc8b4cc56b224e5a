//! Cold paths that join the hot one again.

use super::lower::Lower;
use crate::frontend::Frontend;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value};

impl<F: Frontend> Lower<'_, '_, F> {
    /// Goes on with `result` unless one of `doubts` holds, else with what `otherwise` computes in a cold block.
    pub(super) fn unless(
        &mut self,
        doubts: &[Value],
        result: Value,
        otherwise: impl FnOnce(&mut Self) -> Result<Value, String>,
    ) -> Result<Value, String> {
        self.if_else(doubts, otherwise, |_| result)
    }

    /// What `host` computes if none of `doubts` holds, else what `otherwise` computes in a cold block. What `host` computes
    /// is not executed in doubt.
    pub(super) fn if_else(
        &mut self,
        doubts: &[Value],
        otherwise: impl FnOnce(&mut Self) -> Result<Value, String>,
        host: impl FnOnce(&mut Self) -> Value,
    ) -> Result<Value, String> {
        self.try_if_else(doubts, otherwise, |l| Ok(host(l)))
    }

    /// As [`if_else`](Self::if_else), where the hot path may fail to be made, too.
    pub(super) fn try_if_else(
        &mut self,
        doubts: &[Value],
        otherwise: impl FnOnce(&mut Self) -> Result<Value, String>,
        host: impl FnOnce(&mut Self) -> Result<Value, String>,
    ) -> Result<Value, String> {
        if doubts.is_empty() {
            return host(self);
        }
        let (cold, done) = (self.cold_block(), self.b.create_block());
        for doubt in doubts {
            let go_on = self.b.create_block();
            self.b.ins().brif(*doubt, cold, &[], go_on, &[]);
            self.enter(go_on);
        }
        let result = host(self)?;
        let ty = self.b.func.dfg.value_type(result);
        let merged = self.b.append_block_param(done, ty);
        self.b.ins().jump(done, &[BlockArg::Value(result)]);
        self.enter(cold);
        let exact = otherwise(self)?;
        let exact = self.cast(exact, ty);
        self.b.ins().jump(done, &[BlockArg::Value(exact)]);
        self.enter(done);
        Ok(merged)
    }
}
