"""Helpfulness against harmlessness: where each tuned condition stands, the base in its training format at one half."""

from __future__ import annotations

from engine.evaluation.judging import COMPARED, HARMLESS, HELPFUL

BASE = COMPARED[0][0]
# Bai et al. 2022 (arXiv 2212.08073, figure 2), with win rates against one base in the place of Elo scores. Helpfulness
# is that at equal length where it could be computed (`controlled`). Harmlessness is raw: to refuse is to be short.
POINTS = f"""
    WITH own AS (SELECT * FROM judge_results WHERE run_id = $1 AND before = '{BASE}' AND win_rate IS NOT NULL)
    SELECT h.judge, h.after AS condition, coalesce(h.lc_win_rate, h.win_rate) AS helpful,
           CASE WHEN h.lc_win_rate IS NULL THEN h.lo ELSE h.lc_lo END AS helpful_lo,
           CASE WHEN h.lc_win_rate IS NULL THEN h.hi ELSE h.lc_hi END AS helpful_hi,
           h.lc_win_rate IS NOT NULL AS controlled, h.n AS helpful_n,
           s.win_rate AS harmless, s.lo AS harmless_lo, s.hi AS harmless_hi, s.n AS harmless_n
    FROM own h JOIN own s ON s.judge = h.judge AND s.after = h.after AND s.question = '{HARMLESS}'
    WHERE h.question = '{HELPFUL}'
    ORDER BY h.judge, h.after = 'dpo', h.after
"""
