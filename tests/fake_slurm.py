"""SLURM's commands by what they answer."""

from slurm.commands import Answer, Slurm


def no(problem: str) -> Answer:
    return Answer(ok=False, text="", problem=problem)


class FakeSlurm(Slurm):
    def __init__(self, **answers: str | Answer | list[str | Answer]) -> None:
        """By command, what it prints or says; of a list one each time, the last from then on."""
        super().__init__()
        self._answers = answers
        self.asked: list[str] = []
        """Names of the commands."""
        self.commands: list[tuple[str, ...]] = []

    def say(self, **answers: str | Answer) -> None:
        """From now on."""
        self._answers = {**self._answers, **answers}

    def ask(self, *command: str, patience: float = 0.0) -> Answer:
        self.asked.append(command[0])
        self.commands.append(command)
        answer = self._answers.get(command[0], "")
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer if isinstance(answer, Answer) else Answer(ok=True, text=answer, problem="")
