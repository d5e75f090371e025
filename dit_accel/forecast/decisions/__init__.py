"""Decisions: what is computed, as pure functions of figures ``[B]``, ``[R, N]`` or of none at all.

======================  =========================================  ==============================
file                    decides                                    published as
======================  =========================================  ==============================
static_masks            steps, before the run                      FORA, TaylorSeer, ToCa, SCM
smooth                  steps, from measured errors of reuse       SmoothCache
magnitude               steps, from measured norms                 MagCache
computed_steps          steps, from measured errors of any         (dynamic programming)
accumulated_change      samples, where a sum reaches a threshold   TeaCache, EasyCache, WorldCache
input_change, easy      the change that is added up                TeaCache; EasyCache
curvature_drift         the same, ahead of time                    WorldCache
expected_error          the same, from expected errors             (ours)
verify                  samples, after a look at the last block    SpeCa
guard                   rows whose forecast can't be trusted       (ours)
token_importance        tokens, by score                           ToCa, DuCa
token_clusters          tokens, one for each cluster               ClusCa
======================  =========================================  ==============================

No function reads a tensor to the host, and none lets one sample see another.
"""
