/**
 * How soon threads come back, learnt from those that did and those that did not: a survival curve for
 * each tool of each tenant (and class of its arguments, where somebody tells), behind it one for any
 * tool, and behind that what is thought before anything was seen. What has been seen little of says
 * little: each level counts as a few gaps of the more special one.
 *
 *   argument class ─► tool of the tenant ─► any tool, all tenants ─► prior
 *   people · sub-agents that answered · titles · parents of working children · turns in line ·
 *   what was left behind: another branch of a conversation, a copy on another worker ─► prior
 *
 * Names of tools are a tenant's own: no curve that another tenant's turns are judged by bears one.
 */
import { Heap } from '../../base/heap.ts';
import { Lru } from '../../base/lru.ts';
import type { TenantId } from '../../model/ids.ts';
import type { ToolCalled } from '../../model/kernel-io.ts';
import type { ToolRun } from '../../model/session.ts';
import { bucketOf, edgeUs, GapCurve } from './gap-curve.ts';
import {
  ASIDE,
  CHILD_DONE,
  CHILDREN,
  IN_LINE,
  LEFT_BEHIND,
  oddsOf,
  PERSON,
  type Prior,
  priorOf,
} from './tool-priors.ts';

/** Why a thread is away. */
export type Away =
  | { kind: 'tools'; tenant: TenantId; tools: readonly ToolCalled[] }
  | { kind: 'person' | 'childDone' | 'aside' | 'children' | 'inLine' }
  /** It came back and went on from elsewhere, or on another worker: what it had before, and there. */
  | { kind: 'branch' | 'copy' };

/** A thread's absence, from its begin. Whoever began it ends it or lets it go, once. */
export interface Gap {
  readonly away: Away;
  readonly begunUs: number;
  /** Of the tools, the one that takes longest as a rule: the gap is laid to it. */
  readonly tool: string | undefined;
}

interface OpenGap extends Gap {
  /** The most special first. */
  readonly levels: readonly GapCurve[];
  readonly prior: Prior;
  /** It has reached this one. */
  bucket: number;
  isOpen: boolean;
}

interface Believed {
  odds: Float64Array;
  /** Of all levels, when they were last asked. */
  changes: number;
}

/** A level counts as so many gaps of the next, more special one. */
const LEVEL_WEIGHT = 4;
const PRIOR_WEIGHT = 2;
/** Odds are reckoned anew after so many observations. */
const CHANGES = 16;
/** Of a name or an argument's class, no more is told apart. */
const NAME_MAX = 64;

export class ToolTimes {
  readonly #tools: Lru<string, GapCurve>;
  readonly #anyTool = new GapCurve();
  readonly #others = {
    person: new GapCurve(),
    childDone: new GapCurve(),
    aside: new GapCurve(),
    children: new GapCurve(),
    inLine: new GapCurve(),
    branch: new GapCurve(),
    copy: new GapCurve(),
  };
  /** Open gaps, by when they reach their next bucket. */
  readonly #growing = new Heap<OpenGap>();
  readonly #believed = new WeakMap<GapCurve, Believed>();

  /** `curvesMax`: tools of all tenants together; the ones unused for longest are forgotten. */
  constructor(limits: { curvesMax: number }) {
    this.#tools = new Lru(limits.curvesMax);
  }

  begins(nowUs: number, away: Away): Gap {
    this.#grow(nowUs);
    const lead = away.kind === 'tools' ? leading(away.tools) : undefined;
    const levels = this.#levelsOf(away, lead);
    const prior = away.kind === 'tools' ? priorOf(lead?.tool ?? '') : PRIORS[away.kind];
    const gap: OpenGap = {
      ...{ away, begunUs: nowUs, tool: lead?.tool },
      ...{ levels, prior, bucket: 0, isOpen: true },
    };
    for (const curve of levels) curve.reached(0);
    this.#growing.push(nowUs + edgeUs(1), gap);
    return gap;
  }

  /** The thread came back; `toolsRan`: what its client says of how long its tools took. */
  ends(nowUs: number, gap: Gap, toolsRan: readonly ToolRun[] = []): void {
    this.#grow(nowUs);
    const open = gap as OpenGap;
    if (!open.isOpen) return;
    open.isOpen = false;
    for (const curve of open.levels) curve.returned(open.bucket);
    const { away } = gap;
    if (away.kind !== 'tools') return;
    for (const { tool, us } of toolsRan) {
      if (tool !== gap.tool) this.#toolOf(`${away.tenant}\n${cut(tool)}`).saw(us);
    }
  }

  /** Nobody will see its end: it has lasted until now, and that is all. */
  letGo(nowUs: number, gap: Gap): void {
    this.#grow(nowUs);
    (gap as OpenGap).isOpen = false;
  }

  /** By bucket, the odds that a gap like this which reached it ends in it; not to be changed. */
  odds(nowUs: number, gap: Gap): Float64Array {
    this.#grow(nowUs);
    const { levels, prior } = gap as OpenGap;
    const changes = levels.reduce((sum, curve) => sum + curve.changes, 0);
    const known = this.#believed.get(levels[0]);
    if (known !== undefined && changes < known.changes + CHANGES) return known.odds;
    const odds = oddsOf(prior);
    for (const [rank, curve] of [...levels].reverse().entries()) {
      curve.refine(odds, rank === 0 ? PRIOR_WEIGHT : LEVEL_WEIGHT);
    }
    this.#believed.set(levels[0], { odds, changes });
    return odds;
  }

  /** The same of any gap that no tool is behind. */
  usual(kind: Exclude<Away['kind'], 'tools'>): Float64Array {
    const odds = oddsOf(PRIORS[kind]);
    this.#others[kind].refine(odds, PRIOR_WEIGHT);
    return odds;
  }

  #levelsOf(away: Away, lead: ToolCalled | undefined): readonly GapCurve[] {
    if (away.kind !== 'tools') return [this.#others[away.kind]];
    if (lead === undefined) return [this.#anyTool];
    const key = `${away.tenant}\n${cut(lead.tool)}`;
    const tool = this.#toolOf(key);
    if (lead.argument === undefined) return [tool, this.#anyTool];
    return [this.#toolOf(`${key}\n${cut(lead.argument)}`), tool, this.#anyTool];
  }

  #toolOf(key: string): GapCurve {
    let curve = this.#tools.get(key);
    if (curve === undefined) this.#tools.set(key, (curve = new GapCurve()));
    return curve;
  }

  /** Those that have lasted until another bucket have reached it. */
  #grow(nowUs: number): void {
    for (let due = this.#growing.peek(); due !== undefined; due = this.#growing.peek()) {
      if (due.key > nowUs) return;
      this.#growing.pop();
      const gap = due.value;
      if (!gap.isOpen) continue;
      gap.bucket = bucketOf(due.key - gap.begunUs);
      for (const curve of gap.levels) curve.reached(gap.bucket);
      const nextUs = edgeUs(gap.bucket + 1);
      if (Number.isFinite(nextUs)) this.#growing.push(gap.begunUs + nextUs, gap);
    }
  }
}

const PRIORS = {
  person: PERSON,
  childDone: CHILD_DONE,
  aside: ASIDE,
  children: CHILDREN,
  inLine: IN_LINE,
  branch: LEFT_BEHIND,
  copy: LEFT_BEHIND,
} as const;

/** The tool that takes longest by what is thought of it; of equals the first. */
function leading(tools: readonly ToolCalled[]): ToolCalled | undefined {
  let longest: ToolCalled | undefined;
  for (const one of tools) {
    const isLonger =
      longest === undefined || priorOf(one.tool).medianS > priorOf(longest.tool).medianS;
    if (isLonger) longest = one;
  }
  return longest;
}

function cut(name: string): string {
  return name.slice(0, NAME_MAX).replaceAll('\n', ' ');
}
