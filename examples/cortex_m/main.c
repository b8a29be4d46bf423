/* Classifies the picture in test_data.h, and compares the scores with those of ellc's reference. */
#include "board.h"
#include "network.h"
#include "network_labels.h"
#include "test_data.h"

network_DEFINE_ARENAS

static network_INPUT0_TYPE pixels[network_INPUT0_SIZE];
static network_OUTPUT0_TYPE scores[network_OUTPUT0_SIZE];

int main(void)
{
    network_t model;
    uint32_t begin, cycles;
    unsigned i, best = 0, wrong = 0;
    if (network_init(&model, network_ARENAS) != network_OK) {
        board_print("the network does not start\n");
        return 2;
    }
    for (i = 0; i < network_INPUT0_SIZE; i++)
        pixels[i] = test_input[i];
    board_start_cycles();
    begin = board_cycles(0);
    network_predict(&model, pixels, scores);
    cycles = board_cycles(begin);
    for (i = 0; i < network_OUTPUT0_SIZE; i++) {
        if (scores[i] > scores[best])
            best = i;
        wrong += scores[i] != test_output[i];
    }
    board_print(network_labels[best]);
    board_print("\n");
    board_print_number(cycles);
    board_print(board_cycles_unit());
    board_print(", arena ");
    board_print_number(network_ARENA_BYTES);
    board_print(wrong ? " bytes, the scores DIFFER from the reference\n" : " bytes, same scores as the reference\n");
    network_destroy(&model);
    return wrong ? 1 : 0;
}
