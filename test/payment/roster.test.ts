import fc from "fast-check";
import { expect, test } from "vitest";
import { type Placed, Roster } from "../../server/roster.ts";

interface Member extends Placed {
  readonly name: number;
}

test("whoever comes and goes in whatever order, it has those whom a set would have", () => {
  const moves = fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 200 });
  const property = fc.property(moves, (steps) => {
    const roster = new Roster<Member>();
    const model = new Set<Member>();
    const members = Array.from({ length: 10 }, (_, name): Member => ({ name, place: 0 }));
    for (const [comes, index] of steps) {
      const member = members[index] ?? { name: -1, place: 0 };
      if (!comes) {
        roster.delete(member);
        model.delete(member);
      } else if (!model.has(member)) {
        roster.add(member);
        model.add(member);
      }
      expect(roster.size).toBe(model.size);
      expect(new Set(roster)).toEqual(model);
    }
  });
  fc.assert(property);
});

test("a walk meets all who were there when it began, though each leaves when it is met", () => {
  const roster = new Roster<Member>();
  for (let name = 0; name < 5; name += 1) roster.add({ name, place: 0 });
  const met: number[] = [];
  for (const member of roster) {
    met.push(member.name);
    roster.delete(member);
  }
  expect(met).toEqual([0, 1, 2, 3, 4]);
  expect(roster.size).toBe(0);
});
