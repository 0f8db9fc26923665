export const comparePanel = { title: "compare", needs: [], keys: [], mount() {}, draw() {} };
