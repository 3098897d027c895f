package engagement_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
)

func TestReadmeShowsTheExampleAndWhatItPrintsHoweverOftenItRuns(t *testing.T) {
	t.Parallel()
	ctx := limited(t, uploadTimeout)
	readme := readText(t, "README.md")
	if !strings.Contains(readme, "```go\n"+readText(t, "examples/tour/main.go")+"```\n") {
		t.Error("the README shows another program")
	}
	server := testserver.Start(t).Address
	for range 2 {
		program := exec.CommandContext(ctx, "go", "run", "./examples/tour")
		program.Env = append(os.Environ(), "ENGAGEMENT_SERVER="+server)
		program.Stderr = os.Stderr
		output, err := program.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(readme, "```text\n"+string(output)+"```\n") {
			t.Errorf("the README does not show what it prints:\n%s", output)
		}
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
