export const evalsPanel = { title: "evals", needs: [], keys: [], mount() {}, draw() {} };
